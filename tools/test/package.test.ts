// @module-tag slow
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Ajv } from "ajv";
import { execa } from "execa";
import { load } from "js-yaml";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checkout } from "../../lib/repository.ts";
import { fixtures } from "./corpus.ts";

// What others install: built, packed, installed into an empty directory, and run on a repository of theirs.
const stage = mkdtempSync(join(tmpdir(), "package-"));
const repository = join(stage, "repository");
const home = join(stage, "home");
const cold = 900_000;
afterAll(() => rmSync(stage, { recursive: true, force: true }));

const gitops = (cwd: string, ...args: string[]) =>
  execa(join(home, "node_modules/.bin/gitops"), args, {
    cwd,
    reject: false,
    env: { XDG_CACHE_HOME: join(stage, "cache") },
  });

beforeAll(async () => {
  const built = join(stage, "built");
  await execa("npm", ["run", "--silent", "package", "--", built], { cwd: checkout });
  await execa("npm", ["pack", "--silent", "--pack-destination", stage], { cwd: built });
  const [archive = ""] = readdirSync(stage).filter((file) => file.endsWith(".tgz"));
  mkdirSync(home);
  writeFileSync(join(home, "package.json"), '{"private": true}\n');
  await execa("npm", ["install", "--offline", "--no-audit", "--no-fund", join(stage, archive)], {
    cwd: home,
  });
  const { files } = load(readFileSync(join(fixtures, "layouts/charts.yaml"), "utf8")) as {
    files: Record<string, string>;
  };
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(repository, file)), { recursive: true });
    writeFileSync(join(repository, file), text);
  }
  await execa("git", ["init", "--quiet"], { cwd: repository });
  await execa("git", ["remote", "add", "origin", "https://git.example/team/shop.git"], { cwd: repository });
}, cold);

test(
  "the package checks the repository that it is started in, without a checkout of this one",
  async () => {
    const { stdout, exitCode } = await gitops(repository, "validate");
    expect(stdout).toContain("containers[0].imagePullPolice: unknown field [schema]");
    expect(stdout).toMatch(/^1 finding in \d+ objects of 3 Applications on in-cluster; 2 not looked at$/m);
    expect(stdout).toMatch(/^next: gitops validate --explain schema$/m);
    expect(exitCode).toBe(1);
    const explained = await gitops(repository, "validate", "--explain", "schema");
    expect(explained.stdout).toMatch(/^schema: /);
    expect(existsSync(join(home, "node_modules/gitops-validate/README.md"))).toBe(true);
  },
  cold,
);

test(
  "what it prints as SARIF fits the standard's schema",
  async () => {
    const { stdout } = await gitops(repository, "validate", "--format", "sarif");
    const schema = join(checkout, "node_modules/@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json");
    // Ajv 8 knows no draft 4, whose name for $id this is.
    const { $schema: _, id: __, ...standard } = JSON.parse(readFileSync(schema, "utf8"));
    const fits = new Ajv({ strict: false, validateFormats: false, unicodeRegExp: false }).compile(standard);
    expect(fits(JSON.parse(stdout)) || fits.errors).toBe(true);
    expect(JSON.parse(stdout).runs[0].results).toHaveLength(1);
    expect(fits({ version: "2.1.0", runs: [{}] })).toBe(false);
  },
  cold,
);

test(
  "it says what a change does, and which configuration it does not take",
  async () => {
    const identity = [
      "-c",
      "user.name=test",
      "-c",
      "user.email=test@localhost",
      "-c",
      "commit.gpgSign=false",
    ];
    await execa("git", ["add", "--all"], { cwd: repository });
    await execa("git", [...identity, "commit", "--quiet", "--message", "a"], { cwd: repository });
    writeFileSync(join(repository, "values/web.yaml"), "replicas: 3\n");
    const { stdout } = await gitops(repository, "diff", "--base", "HEAD");
    expect(stdout).toContain("- scales Deployment web/web to 3");
    writeFileSync(join(repository, "gitops.yaml"), "presets: platform\n");
    const refused = await gitops(repository, "validate");
    expect(refused.stderr).toContain("gitops.yaml: there is no field presets");
    expect(refused.stderr).toContain("next: write preset");
    expect(refused.exitCode).toBe(3);
  },
  cold,
);
