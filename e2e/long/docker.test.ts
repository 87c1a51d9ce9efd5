/** E4: a service released with a real Docker engine and with podman, to a registry with a login and immutable tags. */
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { repository } from "../platform.ts";
import { Engines, registry, remains } from "./engines.ts";

const image = `${registry.address}/shop/cart`;
const base = `${registry.address}/base/busybox:1`;
const kustomization = "gitops/apps/shop/base/cart/kustomization.yaml";
const files: Record<string, string> = {
  // A step that runs in a container, on a base that only the registry has.
  "services/cart/Dockerfile": `FROM ${base}\nCOPY . /cart\nRUN cp /cart/words /said\nUSER 1000\nCMD ["/bin/busybox", "cat", "/said"]\n`,
  "services/cart/words": "nothing yet\n",
  [kustomization]: `kind: Kustomization\nimages:\n  - name: cart\n    newName: ${image}\n    newTag: "000000000000"\nresources: []\n`,
};

let before: string[];
let engines: Engines;
let clone: string;

const git = async (...args: string[]): Promise<string> => (await execa("git", ["-C", clone, ...args])).stdout;
const write = (file: string, text: string): void => {
  mkdirSync(dirname(join(clone, file)), { recursive: true });
  writeFileSync(join(clone, file), text);
};
const commit = async (message: string): Promise<void> => {
  await git("add", "--all");
  await git("commit", "--quiet", "--message", message);
};
const tagInGit = async (revision = "origin/main"): Promise<string | undefined> =>
  /newTag: "?(\w+)"?/.exec(await git("show", `${revision}:${kustomization}`))?.[1];

const release = (builder: string, ...args: string[]) =>
  engines.run(
    [
      process.execPath,
      "--import",
      "tsx",
      join(repository, "tools/src/cli.ts"),
      "release",
      "cart",
      ...["--directory", clone, "--remote", "origin", "--push", "--no-validate"],
      ...args,
    ],
    { IMAGE_BUILDER: builder },
  );

/** A root file system of one static program, as a tar. */
async function makeBase(): Promise<void> {
  const root = engines.path("base");
  mkdirSync(join(root, "bin"), { recursive: true });
  writeFileSync(join(root, "bin/busybox"), readFileSync("/bin/busybox"));
  chmodSync(join(root, "bin/busybox"), 0o755);
  for (const name of ["sh", "cp", "cat"]) symlinkSync("busybox", join(root, "bin", name));
  await execa("tar", ["-cf", engines.path("base.tar"), "-C", root, "."]);
  await engines.answer("docker", "import", engines.path("base.tar"), base);
  await engines.answer("docker", "push", base);
}

beforeAll(async () => {
  before = remains();
  engines = await Engines.start();
  const login = ["login", "--username", registry.user, "--password", registry.password, registry.address];
  await engines.answer("docker", ...login);
  await engines.answer("podman", ...login);
  await makeBase();
  const bare = engines.path("shop.git");
  clone = engines.path("clone");
  await execa("git", ["init", "--quiet", "--bare", "--initial-branch=main", bare]);
  await execa("git", ["clone", "--quiet", bare, clone]);
  for (const [key, value] of Object.entries({
    "user.name": "e2e",
    "user.email": "e2e@localhost",
    "commit.gpgSign": "false",
  }))
    await git("config", key, value);
  await git("checkout", "--quiet", "-B", "main");
  for (const [file, text] of Object.entries(files)) write(file, text);
  await commit("a shop");
  await git("push", "--quiet", "origin", "main");
});
afterAll(async () => {
  await engines?.stop();
  expect(remains()).toEqual(before);
});

test("the engine is a real one, apart from the machine's", async () => {
  const info = await engines.answer(
    "docker",
    "info",
    "--format",
    "{{.Driver}} {{.DockerRootDir}} {{.CgroupDriver}}",
  );
  expect(info).toBe(`overlay2 ${engines.path("docker/data")} cgroupfs`);
  expect(await engines.manifest("base/busybox", "1", false)).toBe("401");
  expect(await engines.manifest("base/busybox", "1")).toBe("200");
});

describe.each(["docker", "podman"])("a release with %s", (builder) => {
  const words = `built with ${builder}\n`;
  let tag: string;

  test("builds the committed sources, pushes the image and commits its tag", async ({ annotate }) => {
    write("services/cart/words", words);
    await commit(`feat(cart): ${builder}`);
    tag = (await git("rev-parse", "HEAD:services/cart")).slice(0, 12);
    const started = Date.now();
    const { exitCode, all } = await release(builder);
    expect(exitCode, all).toBe(0);
    await annotate(`${Math.round((Date.now() - started) / 100) / 10} s`);
    expect(await engines.manifest("shop/cart", tag)).toBe("200");
    expect(await tagInGit()).toBe(tag);
    expect(await git("log", "-1", "--format=%B", "origin/main")).toMatch(
      new RegExp(`^Image: ${image}:${tag}$`, "m"),
    );
  });

  test("gives an image that runs, as another user than root", async () => {
    expect(await engines.answer("docker", "run", "--rm", "--network=none", `${image}:${tag}`)).toBe(
      words.trim(),
    );
  });

  test("finds an image that is there, behind the login, and neither builds nor pushes it", async () => {
    // Somebody's commit lost the tag; the image is in the registry, where it cannot be pushed again.
    write(kustomization, (await git("show", `HEAD:${kustomization}`)).replace(tag, "000000000000"));
    await commit("the tag is lost");
    const refused = engines.refused();
    const { exitCode, all } = await release(builder);
    expect(exitCode, all).toBe(0);
    expect(all).not.toMatch(/not known whether/);
    expect(engines.refused()).toEqual(refused);
    expect(await tagInGit()).toBe(tag);
  });
});

test("a tag that is there is not replaced, whoever pushes it", async () => {
  const tag = (await tagInGit()) ?? "";
  const refused = engines.refused();
  await engines.answer("docker", "tag", base, `${image}:${tag}`);
  const { exitCode, all } = await engines.run(["docker", "push", `${image}:${tag}`]);
  expect([exitCode, all]).toEqual([1, expect.stringContaining("immutable")]);
  expect(engines.refused()).toHaveLength(refused.length + 1);
  expect(await engines.manifest("shop/cart", tag)).toBe("200");
});

test("without the login nothing is committed, and it is said what is missing", async () => {
  write("services/cart/words", "for nobody\n");
  await commit("feat(cart): without a login");
  const head = await git("rev-parse", "origin/main");
  await engines.answer("docker", "logout", registry.address);
  const { exitCode, all } = await release("docker");
  expect(exitCode).toBe(1);
  expect(all).toMatch(/no basic auth credentials|unauthorized|denied/);
  expect(await git("ls-remote", "origin", "refs/heads/main")).toContain(head);
});
