import type { Finding } from "../finding.ts";
import type { Repository } from "../repository.ts";

/** A value that only one file may spell out. */
export interface Pin {
  name: string;
  value: string;
  home: string;
}

/** Finds copies of a pinned value: whole words, in the files that `searched` picks, outside of its home. */
export function copiesOf(pin: Pin, repository: Repository, searched: (path: string) => boolean): Finding[] {
  const word = new RegExp(`(?<![\\w.])${quoted(pin.value)}(?![\\w]|\\.\\d)`);
  return [...repository]
    .filter(([path]) => path !== pin.home && searched(path))
    .flatMap(([path, text]) =>
      text.split("\n").flatMap((line, index) => (word.test(line) ? [`${path}:${index + 1}`] : [])),
    )
    .map((where) => ({
      rule: "single-place",
      where,
      message: `${pin.name} ${pin.value} stands in ${pin.home}: read it from there`,
    }));
}

function quoted(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
