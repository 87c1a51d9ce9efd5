import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { execa } from "execa";
import { load } from "js-yaml";
import { afterAll, describe, expect, test } from "vitest";
import { configurationOf } from "../../lib/configuration.ts";
import { readRepository } from "../../lib/repository.ts";
import { TestCache } from "../../lib/test/cache.ts";
import { slow, sweep } from "../../lib/test/long.ts";
import { blastRadius, formatBlastRadius } from "../src/diff.ts";
import { discoverIn } from "../src/discovered.ts";
import { report } from "../src/report.ts";
import { validate } from "../src/validate.ts";
import { fixtures } from "./corpus.ts";

/** A repository of somebody else's layout, and everything that is to be said of it. */
interface Layout {
  title: string;
  files: Record<string, string>;
  links?: Record<string, string>;
  expected: {
    /** The cluster, the name and how many objects. */
    applications: string[];
    findings: string[];
    skipped?: string[];
    external?: string[];
    unchecked?: Record<string, number>;
  };
}

const directories: string[] = [];
const kept = mkdtempSync(join(tmpdir(), "cache-"));
const cold = 900_000;
const cache = new TestCache(kept);
afterAll(() => {
  for (const directory of [...directories, kept]) rmSync(directory, { recursive: true, force: true });
});

const layouts = readdirSync(join(fixtures, "layouts")).map((file) => ({
  name: basename(file, ".yaml"),
  ...(load(readFileSync(join(fixtures, "layouts", file), "utf8")) as Layout),
}));
const layoutNamed = (name: string): Layout => layouts.find((layout) => layout.name === name) as Layout;

async function repositoryOf({ files, links = {} }: Pick<Layout, "files" | "links">): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "layout-"));
  directories.push(directory);
  for (const [file, text] of Object.entries(files)) write(directory, file, text);
  for (const [path, target] of Object.entries(links)) symlinkSync(target, join(directory, path));
  await execa("git", ["init", "--quiet"], { cwd: directory });
  await execa("git", ["remote", "add", "origin", "ssh://git@git.example/team/shop.git"], { cwd: directory });
  return directory;
}

function write(directory: string, file: string, text: string): void {
  mkdirSync(dirname(join(directory, file)), { recursive: true });
  writeFileSync(join(directory, file), text);
}

async function applicationsOf(directory: string): Promise<string[]> {
  const repository = await readRepository(directory);
  const { destinations } = await discoverIn(directory, repository, configurationOf(repository), cache);
  return destinations
    .flatMap(({ name, applications }) =>
      applications
        .filter(({ manifest }) => manifest !== undefined)
        .map((application) => `${name}: ${application.name} ${application.manifests.length}`),
    )
    .sort();
}

describe("a repository of any layout", () => {
  const run = async (layout: Layout): Promise<void> => {
    const directory = await repositoryOf(layout);
    const { findings, skipped, external, unchecked } = await validate(directory, { cache });
    const said = findings.map(
      ({ file, line, column, message, rule }) => `${file}:${line}:${column}: ${message} [${rule}]`,
    );
    const { expected } = layout;
    expect({
      applications: await applicationsOf(directory),
      findings: said,
      skipped: [...skipped].sort(),
      external,
      unchecked,
    }).toEqual({ skipped: [], external: [], unchecked: {}, ...expected });
  };
  // Helm and generators take ten times as long as kustomize.
  const isLong = ({ name, files }: (typeof layouts)[number]): boolean =>
    name === "sets" || Object.keys(files).some((file) => file.endsWith("Chart.yaml"));
  sweep(
    layouts.filter((layout) => !isLong(layout)),
    3,
  )("$name: $title", run, cold);
  test.each(layouts.filter(isLong))("$name: $title", { ...slow, timeout: cold }, run);
});

test(
  "what was left out is in the summary and in SARIF",
  async () => {
    const validation = await validate(await repositoryOf(layoutNamed("odd")), { cache });
    expect(report(validation, "people")).toMatch(
      /2 findings in \d+ objects of 5 Applications on in-cluster; 7 not looked at, 1 object without a schema\n/,
    );
    const [run] = JSON.parse(report(validation, "sarif")).runs;
    const notes = run.invocations[0].toolExecutionNotifications.map(
      ({ message }: { message: { text: string } }) => message.text,
    );
    expect(notes).toContain("no schema available: sauce.example/v1 Sauce, 1 object");
    expect(notes).toContain("not looked at: encrypted/secret.yaml: encrypted by SOPS");
  },
  cold,
);

test(
  "a fork whose Applications name the repository it was made from is read all the same, and that is told",
  async () => {
    const directory = await repositoryOf(layoutNamed("stages"));
    await execa("git", ["remote", "set-url", "origin", "https://git.example/me/copy.git"], {
      cwd: directory,
    });
    const { findings, external, taken } = await validate(directory, { cache });
    expect({ findings, external }).toEqual({ findings: [], external: [] });
    expect(taken).toEqual(["https://git.example/team/shop.git"]);
  },
  cold,
);

test(
  "a rule is switched on and off by gitops.yaml, and the platform's preset has all of them",
  async () => {
    const { files } = layoutNamed("charts");
    const rulesOf = async (configuration: string): Promise<string[]> => {
      const directory = await repositoryOf({ files: { ...files, "gitops.yaml": configuration } });
      const { findings } = await validate(directory, { cache });
      return [...new Set(findings.map(({ rule }) => rule))].sort();
    };
    expect(await rulesOf("")).toEqual(["schema"]);
    expect(await rulesOf("rules: {schema: {on: false, reason: the chart is on its way out}}")).toEqual([]);
    expect(await rulesOf("ignore: [start/]")).toEqual([]);
    expect(await rulesOf("preset: platform")).toEqual(
      expect.arrayContaining(["application-policy", "schema"]),
    );
  },
  cold,
);

describe("diff", () => {
  const commit = async (directory: string): Promise<void> => {
    await execa("git", ["add", "--all"], { cwd: directory });
    const identity = [
      "-c",
      "user.name=test",
      "-c",
      "user.email=test@localhost",
      "-c",
      "commit.gpgSign=false",
    ];
    await execa("git", [...identity, "commit", "--quiet", "--message", "a"], { cwd: directory });
  };

  test(
    "says what a change does to each Argo CD, without asking for trailers",
    async () => {
      const directory = await repositoryOf(layoutNamed("stages"));
      await commit(directory);
      write(
        directory,
        "web/base/configmap.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {a: b}\n",
      );
      write(directory, "web/live/kustomization.yaml", "resources: [../base]\n");
      const radius = await blastRadius(directory, "HEAD", cache);
      expect(
        formatBlastRadius(radius)
          .split("\n")
          .filter((line) => line.startsWith("## ")),
      ).toEqual([
        "## stages/live: in-cluster: 0 created, 1 changed, 1 deleted",
        "## stages/test: in-cluster: 0 created, 1 changed, 0 deleted",
      ]);
      expect(radius).toMatchObject({ unacknowledged: [], broken: [] });
    },
    cold,
  );

  test(
    "names what does not render any more",
    async () => {
      const directory = await repositoryOf(layoutNamed("stages"));
      await commit(directory);
      rmSync(join(directory, "web/live"), { recursive: true });
      const { broken } = await blastRadius(directory, "HEAD", cache);
      expect(broken).toEqual(["Application web: there is no directory web/live"]);
    },
    cold,
  );
});
