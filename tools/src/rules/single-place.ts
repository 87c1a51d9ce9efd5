import type { Layout } from "../../../lib/configuration.ts";
import { isMapping } from "../../../lib/object.ts";
import { documentsOf } from "../../../lib/render/references.ts";
import { remotesIn } from "../../../lib/render/remote.ts";
import type { Problem, Rule } from "./rule.ts";

export const singlePlace: Rule = {
  id: "single-place",
  readsNoObjects: true,
  isOfFiles: true,
  isOfClusters: true,
  isLocal: true,
  summary: "The repository's URL, its branch and each version occur in one file only",
  explanation: `A fork edits the source of its cluster and nothing else; a version is raised in one place and everything follows.
  The rule searches for whole words: the URL in all files except documentation, the branch as targetRevision, and the versions in versions.yaml
  and in go.mod files, in YAML, TypeScript and Dockerfiles of the layout's versioned directories (gitops.yaml). The URL of a remote resource is
  exempt, because Argo CD reads it from Git, and the rule renders compares its version with the go.mod. A versions.yaml without a readable
  version is also a finding, because the rule would search for nothing.`,
  check: ({ input, layout }) => {
    if (!layout) return [];
    const lines = [...input.repository].flatMap(([file, text]) =>
      searchable(layout, file) ? [{ file, text }] : [],
    );
    const found = input.pins.flatMap(({ name, value, home }) => {
      const word = new RegExp(`(?<![\\w.])${value.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?![\\w]|\\.\\d)`);
      const applies = isVersion(value) ? versioned(layout) : (file: string) => !isDocumentation(file);
      return lines
        .filter(({ file, text }) => file !== home && applies(file) && text.includes(value))
        .flatMap(({ file, text }): Problem[] =>
          text.split("\n").flatMap((line, index) => {
            const match = remotesIn(line).length > 0 ? null : word.exec(line);
            if (!match) return [];
            const at = { file, line: index + 1, column: match.index + 1 };
            return [{ at, message: `${name} ${value} is already in ${home}`, fix: "read it from there" }];
          }),
        );
    });
    return [...unreadable(layout.versions, input.repository.get(layout.versions) ?? ""), ...found];
  },
};

function unreadable(versions: string, text: string): Problem[] {
  const [content] = documentsOf(text);
  const isEmpty = !/^[^#\s]/m.test(text);
  if (isEmpty || isMapping(content)) return [];
  const message = `${versions} is not a mapping of names to versions, so no version can be compared`;
  return [
    { at: { file: versions, line: 1, column: 1 }, message, fix: "write one line NAME: VERSION for each" },
  ];
}

const isDocumentation = (file: string): boolean => file.startsWith("docs/") || file.endsWith(".md");
const isVersion = (value: string): boolean => /^v?\d/.test(value);
const isBelow = (file: string, places: string[]): boolean =>
  places.some((place) => file.startsWith(`${place}/`));
const versioned =
  (layout: Layout) =>
  (file: string): boolean =>
    (isBelow(file, layout.versioned) && /\.(ya?ml|ts)$/.test(file)) || file.endsWith("Dockerfile");
const searchable = (layout: Layout, file: string): boolean =>
  !/(^|\/)(package-lock\.json|go\.sum|go\.mod)$/.test(file) && !isBelow(file, layout.unversioned);
