// Colours of applications in charts. An application keeps its colour on every page; none is that of down or up.

const COUNT = 10; // classes layer-0 to layer-9 of style.css

const colours = new Map(); // by application, for all pages since the dashboard was opened

function hash(text) {
  let value = 0;
  for (const character of text) value = (value * 31 + character.codePointAt(0)) >>> 0;
  return value % COUNT;
}

/**
 * The classes of the colours of `tags`. Each is derived from the tag; of two that stand together and would have the
 * same, the later in alphabetical order gets the next free one.
 */
export function coloursOf(tags) {
  const taken = new Set(tags.filter((tag) => colours.has(tag)).map((tag) => colours.get(tag)));
  const shown = new Map();
  for (const tag of [...tags].sort()) {
    if (!colours.has(tag)) {
      let colour = hash(tag);
      for (let tries = 0; taken.has(colour) && tries < COUNT; tries += 1) colour = (colour + 1) % COUNT;
      colours.set(tag, colour);
      taken.add(colour);
    }
    shown.set(tag, `layer-${colours.get(tag)}`);
  }
  return shown;
}
