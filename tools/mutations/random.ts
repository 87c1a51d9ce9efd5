/** Numbers from 0 to 1 that are the same in every run with the same seed: mulberry32. */
export function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** One of a list's elements. @throws where there is none */
export function oneOf<T>(list: readonly T[], random: () => number): T {
  const element = list[Math.floor(random() * list.length)];
  if (element === undefined) throw new Error("there is nothing to choose from");
  return element;
}
