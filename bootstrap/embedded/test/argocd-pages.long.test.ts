/** Argo CD's pages and our component library with which they are built. The pages' types and tests are its contract. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { load } from "js-yaml";
import { afterAll, beforeAll, expect, it } from "vitest";
import { argocd, moduleSource } from "../../../lib/modules.ts";
import { layOutPages, pagesDirectory } from "../src/argocd-pages.ts";
import { repository } from "../src/layout.ts";

// On a fresh machine, npm fetches 700 packages.
const coldStart = 900_000;
const directory = mkdtempSync(join(tmpdir(), "argocd-pages-"));
let source: string;

beforeAll(async () => {
  source = await moduleSource(repository, argocd);
  await layOutPages(source, directory, { tests: true });
}, coldStart);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

const program = (name: string, args: string[]): Promise<{ exitCode?: number; all: string }> =>
  execa(process.execPath, [join(directory, "node_modules", name), ...args], {
    cwd: directory,
    reject: false,
    all: true,
    env: { NODE_ENV: "test" },
  });

it("are built with the versions of the module's own lock file", () => {
  const lock = load(readFileSync(join(source, "ui/pnpm-lock.yaml"), "utf8")) as {
    importers: Record<string, Record<string, Record<string, { version: string }>>>;
  };
  const { dependencies = {}, devDependencies = {} } = lock.importers["."] ?? {};
  const theirs = { ...dependencies, ...devDependencies };
  const own = JSON.parse(readFileSync(join(pagesDirectory, "package.json"), "utf8")) as Record<
    string,
    Record<string, string>
  >;
  // These are the library and what it is made from.
  const ours = ["argo-ui", "argo-ui-snapshot", "tippy.js"];
  const named = Object.entries({ ...own.dependencies, ...own.devDependencies }).filter(
    ([name]) => !ours.includes(name),
  );
  expect(named.length).toBeGreaterThan(60);
  expect(Object.fromEntries(named)).toEqual(
    Object.fromEntries(named.map(([name]) => [name, theirs[name]?.version.replace(/\(.*/, "")])),
  );
  // Every package that the pages need is installed.
  expect(Object.keys(dependencies).filter((name) => !(name in (own.dependencies ?? {})))).toEqual([]);
});

it("find in the library every name and type that they use", async () => {
  const { exitCode, all } = await program("typescript/bin/tsc", ["--noEmit", "--project", "src/app"]);
  expect(all).toBe("");
  expect(exitCode).toBe(0);
}, 300_000);

it("pass their own tests with it, the contract of its forms among them", async () => {
  const flags = ["--coverage=false", "--reporters=default", "--maxWorkers=1", "--json", "--silent"];
  const output = join(directory, "jest.json");
  const { exitCode, all } = await program("jest/bin/jest.js", [...flags, `--outputFile=${output}`]);
  const results = JSON.parse(readFileSync(output, "utf8")) as {
    numPassedTests: number;
    numFailedTests: number;
    testResults: { name: string }[];
  };
  expect(results.numFailedTests, all).toBe(0);
  expect(exitCode, all).toBe(0);
  expect(results.numPassedTests).toBeGreaterThan(300);
  const files = results.testResults.map(({ name }) => name);
  expect(files.some((name) => name.endsWith("form/__tests__/compat.test.tsx"))).toBe(true);
}, 600_000);

it("take nothing of the snapshot that ours stands for", () => {
  const { copied } = JSON.parse(readFileSync(join(pagesDirectory, "snapshot.json"), "utf8")) as {
    copied: string[];
  };
  const own = readdirSync(join(pagesDirectory, "argo-ui/src"), { recursive: true, encoding: "utf8" });
  expect(own.filter((file) => copied.includes(file))).toEqual([]);
});
