/**
 * Renders the raw pixels and labels of the pixel faces data set.
 *
 *     node generate.mjs OUTPUT_FOLDER
 *
 * For each split, "train" and "test", it writes two files without a header:
 *
 *     SPLIT-images.raw   uint8, N x 16 rows x 16 columns x 3 (R, G, B; sRGB levels 0..255)
 *     SPLIT-labels.raw   uint8, N
 *
 * The pictures follow from the seeds alone: two runs write the same bytes.
 */

import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { createAvatar } from '@dicebear/core';
import * as pixelArt from '@dicebear/pixel-art';
import { Resvg } from '@resvg/resvg-js';

const SIDE = 16; // pixels; the grid on which the style is drawn
const PIXELS = SIDE * SIDE;
const CLASSES = 8;
const SPLITS = [
  { name: 'train', count: 20_000 },
  { name: 'test', count: 10_000 },
];

// Soft and mostly cool colours: the skin tones of the style are all warm, so that
// every face stands out from every background.
const BACKGROUNDS = [
  'a9cfe4', // sky
  'b5d8c0', // mint
  'cdbfe3', // lavender
  'efbfcd', // rose
  '8fb3b0', // teal grey
  '8f9cc0', // dusk blue
  'd9dfe8', // mist
  'c9d6a3', // pistachio
];

// label = the sum of the bits of the features which a face wears.
// `minPixels`: see `isClear`. A hat covers 30 to 54 pixels, so that fewer than 16 changed
// pixels mean a hat which melts into hair of its own colour; the smallest glasses and
// beards of the style have only 4 to 10 pixels.
const FEATURES = [
  { name: 'hat', bit: 4, minPixels: 16 },
  { name: 'glasses', bit: 2, minPixels: 4 },
  { name: 'beard', bit: 1, minPixels: 4 },
];
const CLEAR_STEP = 32; // levels of 0..255

// The style draws a beard through a mask whose opacity is the luminance of the hair colour:
// the darker the hair, the more transparent the beard, and most dark beards cannot be seen.
// With an alpha mask the same shapes get the 90 % opacity that their paths declare. (resvg
// reads the mask type from the attribute, not from `style`.)
const LUMINANCE_MASK = 'style="mask-type:luminance"';
const ALPHA_MASK = 'mask-type="alpha"';

/**
 * The face of one seed as SVG text, 16 x 16 units.
 *
 * The style draws the same number of random values whatever the probabilities are, so that
 * one seed gives one person with or without each feature.
 */
export function faceSvg(seed, label) {
  const options = { seed, backgroundColor: BACKGROUNDS };
  for (const { name, bit } of FEATURES) {
    options[`${name}Probability`] = label & bit ? 100 : 0;
  }
  const parts = createAvatar(pixelArt, options).toString().split(LUMINANCE_MASK);
  const masks = parts.length - 1;
  if (masks !== (label & 1)) {
    throw new Error(`seed ${seed}: ${masks} luminance masks; another version of the style?`);
  }
  return parts.join(ALPHA_MASK);
}

/** Renders SVG text to `side` x `side` RGBA pixels (Buffer, uint8, sRGB). */
export function render(svg, side = SIDE) {
  return new Resvg(svg, {
    fitTo: { mode: 'width', value: side },
    font: { loadSystemFonts: false }, // there is no text; loading fonts would cost the most time
  }).render().pixels;
}

/**
 * Throws unless every pixel is opaque and is one flat square of the drawing, which means
 * that a rendering four times as large has the same colour in all 16 of its pixels.
 */
export function checkExact(seed, svg, rgba) {
  const scale = 4;
  const large = render(svg, SIDE * scale);
  for (let y = 0; y < SIDE * scale; y++) {
    for (let x = 0; x < SIDE * scale; x++) {
      const big = (y * SIDE * scale + x) * 4;
      const column = Math.floor(x / scale);
      const row = Math.floor(y / scale);
      const small = (row * SIDE + column) * 4;
      for (let c = 0; c < 4; c++) {
        if (large[big + c] !== rgba[small + c]) {
          throw new Error(`seed ${seed}: row ${row}, column ${column} is not flat`);
        }
      }
      if (rgba[small + 3] !== 255) {
        throw new Error(`seed ${seed}: row ${row}, column ${column} is not opaque`);
      }
    }
  }
}

/** How many pixels differ by at least `CLEAR_STEP` levels in R, G or B. */
export function countClearChanges(rgbaA, rgbaB) {
  let count = 0;
  for (let i = 0; i < PIXELS * 4; i += 4) {
    const step = Math.max(
      Math.abs(rgbaA[i] - rgbaB[i]),
      Math.abs(rgbaA[i + 1] - rgbaB[i + 1]),
      Math.abs(rgbaA[i + 2] - rgbaB[i + 2]),
    );
    if (step >= CLEAR_STEP) count++;
  }
  return count;
}

/**
 * The name of the first feature whose switching on or off changes the picture too little
 * for the label to be seen, or null.
 *
 * It looks at the features that a face lacks, too. Otherwise only bearded faces would lose,
 * for example, hair of the colour of the skin, and hair would give the label away.
 */
export function unclearFeature(seed, label, rgba) {
  for (const { name, bit, minPixels } of FEATURES) {
    const flipped = render(faceSvg(seed, label ^ bit));
    if (countClearChanges(rgba, flipped) < minPixels) return name;
  }
  return null;
}

/** Drops the alpha bytes: RGBA pixels to a Buffer of 768 bytes, R, G, B per pixel. */
function toRgb(rgba) {
  const rgb = Buffer.alloc(PIXELS * 3);
  for (let i = 0; i < PIXELS; i++) {
    rgb[3 * i] = rgba[4 * i];
    rgb[3 * i + 1] = rgba[4 * i + 1];
    rgb[3 * i + 2] = rgba[4 * i + 2];
  }
  return rgb;
}

/**
 * Makes all pictures of all splits, in order.
 *
 * Picture i of a split has the label i % 8, so that every run of eight pictures holds each
 * class once; a seed that is turned away leaves its label to the next seed.
 */
export function generate() {
  const seen = new Set(); // over both splits: no test picture is a training picture
  const skipped = { duplicate: 0, hat: 0, glasses: 0, beard: 0 };
  let number = 0;
  const splits = SPLITS.map(({ name, count }) => {
    const images = Buffer.alloc(count * PIXELS * 3);
    const labels = Buffer.alloc(count);
    for (let i = 0; i < count; number++) {
      const seed = `pixel-faces-${number}`;
      const label = i % CLASSES;
      const svg = faceSvg(seed, label);
      const rgba = render(svg);
      checkExact(seed, svg, rgba);
      const unclear = unclearFeature(seed, label, rgba);
      if (unclear) {
        skipped[unclear]++;
        continue;
      }
      const rgb = toRgb(rgba);
      const hash = createHash('sha256').update(rgb).digest('base64');
      if (seen.has(hash)) {
        skipped.duplicate++;
        continue;
      }
      seen.add(hash);
      images.set(rgb, i * PIXELS * 3);
      labels[i] = label;
      i++;
    }
    return { name, count, images, labels };
  });
  return { splits, seeds: number, skipped };
}

function main(args) {
  if (args.length !== 1 || args[0] === '' || args[0].startsWith('-')) {
    console.error('usage: node generate.mjs OUTPUT_FOLDER');
    return 2;
  }
  const folder = args[0];
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    console.error(`generate.mjs: cannot make the folder ${folder}: ${error.message}`);
    return 1;
  }
  const started = performance.now();
  const { splits, seeds, skipped } = generate();
  for (const { name, count, images, labels } of splits) {
    writeFileSync(path.join(folder, `${name}-images.raw`), images);
    writeFileSync(path.join(folder, `${name}-labels.raw`), labels);
    const hash = createHash('sha256').update(images).digest('hex');
    console.log(`${name}: ${count} pictures, sha256 of the images ${hash}`);
  }
  console.log(
    `seeds used: ${seeds}; turned away: ${skipped.hat} for an unclear hat, ` +
      `${skipped.glasses} glasses, ${skipped.beard} beard; ${skipped.duplicate} duplicates`,
  );
  console.log(`time: ${((performance.now() - started) / 1000).toFixed(0)} s`);
  return 0;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  process.exitCode = main(process.argv.slice(2));
}
