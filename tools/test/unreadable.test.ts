import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { checkout } from "../../lib/repository.ts";
import { bundle } from "../../lib/test/bundle.ts";
import { slow, sweep } from "../../lib/test/long.ts";

// "0 findings in 0 objects" would be a verdict about something that nobody read.
let directory: string;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "layout-"));
  await execa("git", ["init", "--quiet"], { cwd: directory });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const write = (file: string, text: string): void => {
  mkdirSync(dirname(join(directory, file)), { recursive: true });
  writeFileSync(join(directory, file), text);
};
const cli = await bundle(join(checkout, "tools/src/cli.ts"));
const gitops = (...args: string[]) =>
  execa("node", [cli, ...args], {
    cwd: checkout,
    reject: false,
  });
const application = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: shop, namespace: argocd}
spec:
  project: default
  source: {repoURL: https://git.example/r.git, path: apps/shop, targetRevision: trunk}
  destination: {server: https://kubernetes.default.svc, namespace: shop}
`;

describe("validate ends with 3 and says what it looked for", () => {
  const said = "nothing that Argo CD would render";
  const without: [string, () => void, string[]][] = [
    ["in an empty repository", () => {}, []],
    [
      "in one with a kustomization at its root",
      () => write("kustomization.yaml", "resources: [shop.yaml]\n"),
      [],
    ],
    ["in one whose clusters lie in clusters/", () => write("clusters/one/kustomization.yaml", "{}\n"), []],
    [
      "in one whose layout has no cluster",
      () => write("gitops.yaml", readFileSync(join(checkout, "gitops.yaml"), "utf8")),
      [],
    ],
    ["in a directory of a repository", () => write("docs/a.md", "a\n"), ["docs"]],
    ["as JSON too", () => {}, ["", "--format", "json"]],
    ["as SARIF too", () => {}, ["", "--format", "sarif"]],
  ];
  sweep(without, 2)("%s", async (_, prepare, [below = "", ...options]) => {
    prepare();
    const { exitCode, stdout, stderr } = await gitops("validate", join(directory, below), ...options);
    expect(stdout).toBe("");
    expect(stderr).toContain(said);
    expect(stderr).toContain(join(directory, below));
    expect(stderr).toMatch(/^ *next: /m);
    expect(exitCode).toBe(3);
  });

  test("where there is no repository, and no directory", async () => {
    rmSync(join(directory, ".git"), { recursive: true });
    const outside = await gitops("validate", directory);
    expect(outside.stderr).toContain(`${directory} is not in a Git repository`);
    expect(outside.exitCode).toBe(3);
    const nowhere = await gitops("validate", join(directory, "nowhere"));
    expect(nowhere.stderr).toContain(`there is no directory ${directory}/nowhere`);
    expect(nowhere.exitCode).toBe(3);
  });
});

test("diff does not call a repository unchanged in which nothing is rendered", async () => {
  write("docs/a.md", "a\n");
  await execa("git", ["add", "--all"], { cwd: directory });
  const identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgSign=false"];
  await execa("git", [...identity, "commit", "--quiet", "--message", "docs"], { cwd: directory });
  const { exitCode, stdout, stderr } = await gitops("diff", "-C", directory, "--base", "HEAD");
  expect(stdout).toBe("");
  expect(stderr).toContain("nothing that Argo CD would render");
  expect(exitCode).toBe(3);
});

test("an Application that makes nothing is counted, and one whose source is not there is a finding", {
  ...slow,
  timeout: 900_000,
}, async () => {
  await execa("git", ["remote", "add", "origin", "git@git.example:r"], { cwd: directory });
  write("apps/shop.yaml", application);
  write("apps/shop/README.md", "a\n");
  const empty = await gitops("validate", directory);
  expect(empty.stdout).toContain("not looked at: apps/shop holds no manifest");
  expect(empty.exitCode).toBe(0);
  rmSync(join(directory, "apps/shop"), { recursive: true });
  const gone = await gitops("validate", directory);
  expect(gone.stdout).toContain(
    "apps/shop.yaml:6:48: Application shop does not render: there is no directory",
  );
  expect(gone.exitCode).toBe(1);
});
