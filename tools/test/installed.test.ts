/** The commands of package.json in a clone without packages, or with those of the repository only, as deploy.sh installs them. */
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkout } from "../../lib/repository.ts";
import { slow, sweep } from "../../lib/test/long.ts";

interface Package {
  scripts: Record<string, string>;
  dependencies?: Record<string, string>;
  devDependencies: Record<string, string>;
}

const packageIn = (directory: string): Package =>
  JSON.parse(readFileSync(join(checkout, directory, "package.json"), "utf8")) as Package;

const { postinstall, ...scripts } = packageIn("").scripts;
const root = mkdtempSync(join(tmpdir(), "installed-test-"));
const [bare, rootOnly] = [join(root, "bare"), join(root, "root-only")];

beforeAll(() => {
  for (const clone of [bare, rootOnly]) {
    mkdirSync(join(clone, "services/app"), { recursive: true });
    mkdirSync(join(clone, "tools"));
    for (const file of ["package.json", "tsconfig.json", "services/app/package.json", "tools/installed.sh"])
      cpSync(join(checkout, file), join(clone, file));
    for (const part of ["cli", "src"])
      cpSync(join(checkout, "services/log-archiver", part), join(clone, "services/log-archiver", part), {
        recursive: true,
      });
    cpSync(
      join(checkout, "services/log-archiver/package.json"),
      join(clone, "services/log-archiver/package.json"),
    );
  }
  symlinkSync(join(checkout, "node_modules"), join(rootOnly, "node_modules"));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const runIn = (clone: string, name: string, ...args: string[]) =>
  execa("npm", ["run", "--silent", name, "--", ...args], { cwd: clone, reject: false });

const sayingOf = (owner: string): string => `the packages of ${owner} are not installed\nnext: npm ci`;

describe("without any package", () => {
  it.each(Object.entries(scripts))("%s says so", async (_name, script) => {
    const { exitCode, stderr, stdout } = await execa("sh", ["-c", script], { cwd: bare, reject: false });
    expect({ exitCode, stderr, stdout }).toEqual({
      exitCode: 1,
      stderr: sayingOf("the repository"),
      stdout: "",
    });
  });
});

describe("with the packages of the repository", () => {
  const ofServices = Object.entries(scripts).filter(([, script]) => /installed\.sh services\//.test(script));

  it.each(ofServices)("%s names the service that has none", async (_name, script) => {
    const { exitCode, stderr } = await execa("sh", ["-c", script], { cwd: rootOnly, reject: false });
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: sayingOf("services/app") });
  });

  it("every command that enters a service's directory is among them", () => {
    const entering = Object.entries(scripts).filter(([, script]) =>
      /--prefix|cd |checks\/test|e2e/.test(script),
    );
    expect(
      entering.map(([name]) => name).filter((name) => !ofServices.some(([other]) => other === name)),
    ).toEqual([]);
  });

  sweep(["logs", "archive", "restore", "import"], 1)("%s runs", async (name) => {
    const { exitCode, stdout, stderr } = await runIn(rootOnly, name, "--help");
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout).toMatch(/^(Usage|log-archiver)/);
  });

  it("the archiver's are among them, each in the same version", () => {
    const { dependencies = {} } = packageIn("services/log-archiver");
    expect(packageIn("").devDependencies).toMatchObject(dependencies);
  });
});

it("after what is next the command runs", slow, async () => {
  const clone = join(root, "followed");
  const write = (file: string, text: string): void => {
    mkdirSync(join(clone, file, ".."), { recursive: true });
    writeFileSync(join(clone, file), text);
  };
  write("tsx/package.json", JSON.stringify({ name: "tsx", version: "1.0.0", bin: "run.sh" }));
  write("tsx/run.sh", '#!/bin/sh\necho "ran $*"\n');
  chmodSync(join(clone, "tsx/run.sh"), 0o755);
  const { validate, test } = scripts;
  const given = { name: "x", version: "1.0.0", scripts: { postinstall, validate, test } };
  write("package.json", JSON.stringify({ ...given, devDependencies: { tsx: "file:tsx" } }));
  write(
    "services/app/package.json",
    JSON.stringify({ name: "app", version: "1.0.0", dependencies: { tsx: "file:../../tsx" } }),
  );
  cpSync(join(checkout, "tools/installed.sh"), join(clone, "tools/installed.sh"));
  const env = { npm_config_offline: "true", npm_config_audit: "false", npm_config_ignore_scripts: "false" };
  for (const directory of [clone, join(clone, "services/app")])
    await execa("npm", ["install", "--package-lock-only", "--ignore-scripts"], { cwd: directory, env });
  for (const command of ["validate", "test"]) {
    const { stderr } = await runIn(clone, command);
    const [, next = ""] = /^next: (.*)$/m.exec(stderr) ?? [];
    if (command === "validate") await execa("sh", ["-c", next], { cwd: clone, env });
    expect((await runIn(clone, command)).stdout).toMatch(/^ran tools\//);
  }
});
