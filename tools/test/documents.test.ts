/** Documents name only commands, files and objects that there are. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { load } from "js-yaml";
import { expect, test } from "vitest";
import type { KubernetesObject } from "../../lib/object.ts";
import { checkout, readRepository } from "../../lib/repository.ts";
import { sweep } from "../../lib/test/long.ts";
import { platformValidator } from "../src/schema/sources.ts";

const files = await readRepository(checkout);
const documents = [...files].filter(([path]) => /^(README\.md|docs\/.*\.md)$/.test(path));
const { scripts } = JSON.parse(readFileSync(join(checkout, "package.json"), "utf8")) as {
  scripts: Record<string, string>;
};
const usage = readFileSync(join(checkout, "deploy.sh"), "utf8");

test.each(documents)("%s names commands that there are", (_, text) => {
  // With --prefix it is another package's script.
  const named = [...text.matchAll(/npm run ([\w:-]+)(?![\w:-]| --prefix)/g)].map(([, name = ""]) => name);
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
  const commands = [...text.matchAll(/\.\/deploy\.sh ([a-z]+)/g)].map(([, name = ""]) => name);
  expect(commands.filter((name) => !new RegExp(`^  ${name} `, "m").test(usage))).toEqual([]);
});

test.each([...files].filter(([path]) => path.endsWith(".md")))(
  "%s has lines of at most 120 columns",
  (_, text) => {
    const long = text.split("\n").filter((line) => line.length > 120);
    // A table's row and a heading are one line, and so is a link that stands alone.
    expect(long.filter((line) => !/^(\||#|\s*\[[^\]]*\]: )/.test(line))).toEqual([]);
  },
);

test.each(documents)("%s names files that there are", (path, text) => {
  const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, link = ""]) => link);
  expect(links.filter((link) => !existsSync(join(checkout, dirname(path), link)))).toEqual([]);
  const files = [...text.matchAll(/`((?:\.github|gitops|bootstrap|lib|tools|services|e2e|docs)\/[\w./-]+)`/g)]
    .map(([, file = ""]) => normalize(file))
    // NAME and the like stand for something.
    .filter((file) => !/\/[A-Z]+(\/|$)|node_modules|\/dist\//.test(file));
  expect(files.filter((file) => !existsSync(join(checkout, file)))).toEqual([]);
});

// The schemas alone take seconds.
sweep(documents, 0)(
  "%s shows objects that fit their schemas",
  async (_, text) => {
    const blocks = [...text.matchAll(/```yaml\n(.*?)```/gs)].map(([, block = ""]) => load(block));
    const objects = blocks.filter(
      (block) => (block as { apiVersion?: string }).apiVersion,
    ) as KubernetesObject[];
    if (objects.length === 0) return;
    const validator = await platformValidator(checkout);
    for (const object of objects) expect(validator.check(object)).toEqual([]);
  },
  900_000,
);
