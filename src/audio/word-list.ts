/**
 * 256 words for the check words: known to children, said without doubt over a bad line, no two a letter apart. Both ends
 * must have the same list in the same order, so nothing is ever changed here.
 */
export const WORDS: readonly string[] = `
acorn actor album amber anchor angel ankle apple apron arch arrow atlas attic autumn avenue
bacon badge bagel bamboo banana banjo barrel basket beach beaver beetle bell bicycle biscuit
blanket blossom bonfire bottle bracelet branch bread bridge broom bubble bucket buffalo bugle
butter button cabin cable cactus camel camera canal candle canoe canyon carpet carrot castle
cedar cello cement chalk cherry chimney cinema circus citrus clarinet clover cobra coconut
coffee comet compass copper coral cotton cradle crayon cricket crystal curtain cushion daisy
dance desert diamond dinner dolphin donkey dragon drawer drum eagle easel echo elbow elephant
engine envelope fabric falcon feather fence ferry fiddle finger flamingo flute forest fossil
fountain fox galaxy garage garden garlic gazelle giraffe glacier globe goblet gorilla grape
guitar hammer harbor harvest hazel helmet herring hockey honey horizon hotel iceberg igloo
insect island ivory jacket jaguar jasmine jelly jewel jigsaw journal jungle kangaroo kernel
kettle kitchen kite koala ladder lagoon lantern lemon leopard library lily lizard lobster lumber
magnet mango maple marble market meadow melon mirror mosaic muffin museum nectar needle nephew
nickel noodle nutmeg oasis ocean octopus olive onion opera orange orchid oyster palace panda
parade pebble pelican pencil pepper piano pigeon pillow planet plum poem potato puddle pumpkin
puzzle quarry quilt rabbit radar radish raven ribbon river rocket saddle salmon sandal satin
saxophone scarf school shadow shovel silver spider sponge squirrel summer sunset swan teapot
temple thunder tiger timber tomato tractor trumpet tulip tunnel turtle umbrella vacuum valley
velvet violin volcano waffle walnut walrus whistle window winter yellow yogurt zebra
`
  .trim()
  .split(/\s+/)
