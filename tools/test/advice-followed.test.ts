/** What the tool says is next, done in the state in which it is printed, beyond what git-advice.test.ts does. */
import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { examine } from "../../lib/cluster/doctor.ts";
import { waitForCommit } from "../../lib/cluster/wait.ts";
import { findBuilder } from "../../lib/images/builder.ts";
import { checkout } from "../../lib/repository.ts";
import { bundle } from "../../lib/test/bundle.ts";
import { slow } from "../../lib/test/long.ts";
import { editCommand } from "../src/git/scalar.ts";
import { promote } from "../src/release/promote.ts";
import { release, rollback, setFault } from "../src/release/release.ts";
import { adviceIn } from "./advice.ts";
import { type Clone, clone, failureOf, fault, kustomization, openShop, shop } from "./shop.ts";

openShop();

const nowhere = ["--registry", "http://127.0.0.1:9"];
const overlay = (name: string): string => `gitops/apps/shop/overlays/${name}/kustomization.yaml`;
const entry = (tag: string): string =>
  `images:\n  - name: registry.example/shop/cart\n    newTag: "${tag}"\n`;

const cli = await bundle(join(checkout, "tools/src/cli.ts"));
/** The command line itself, and what it says is next. */
async function gitops(
  ...args: string[]
): Promise<{ exitCode: number | undefined; next: string; all: string }> {
  const { exitCode, all } = await execa(process.execPath, [cli, ...args], {
    cwd: clone.directory,
    all: true,
    reject: false,
  });
  return { exitCode, all, next: /^ *next: (.*)$/m.exec(all)?.[1] ?? "" };
}
const at = (...args: string[]): string[] => [...args, "--directory", clone.directory, "--no-validate"];

describe("the same command", () => {
  test("with --push pushes what was committed, with the options that were given", slow, async () => {
    const said = await gitops(...at("fault", "33", "--remote", "origin"));
    expect(said).toMatchObject({ exitCode: 0, next: expect.stringMatching(/--remote origin .*--push$/) });
    expect(await clone.follow(said)).toMatchObject({ exitCode: 0 });
    expect(await shop.remote(fault)).toContain("DELAY_PERCENT=33");
  });

  test("with --branch does it where it was not known which branch is meant", slow, async () => {
    for (const [cluster, branch] of [
      ["one", "main"],
      ["two", "other"],
    ] as const)
      clone.write(
        `gitops/clusters/${cluster}/source/configmap.yaml`,
        `kind: ConfigMap\ndata:\n  repository: http://${cluster}/r.git\n  branch: ${branch}\n`,
      );
    await clone.commit("two clusters");
    const said = await gitops(...at("fault", "34", "--push"));
    expect(said.all).toContain("it is not known which is meant");
    expect(await clone.follow(said)).toMatchObject({ exitCode: 0 });
    expect(await shop.remote(fault)).toContain("DELAY_PERCENT=34");
  });

  test("is quoted where a shell would take it apart", slow, async () => {
    clone.write("notes.txt", "mine\n");
    const odd = join(shop.directory, "a clone; exit 3");
    await execa("cp", ["-r", clone.directory, odd]);
    const said = await gitops("fault", "35", "--directory", odd, "--no-validate");
    expect(await clone.follow(said)).toMatchObject({ exitCode: 0 });
    expect(await shop.remote(fault)).toContain("DELAY_PERCENT=35");
  });
});

describe("a shallow clone", slow, () => {
  let shallow: Clone;
  beforeEach(async () => {
    await clone.change("one\n");
    await release(clone.options({ push: true }));
    await shop.bare.run(
      "clone",
      "--quiet",
      "--depth=1",
      `file://${shop.bare.directory}`,
      join(shop.directory, "shallow"),
    );
    shallow = new (clone.constructor as typeof Clone)(join(shop.directory, "shallow"));
    for (const key of ["user.name", "user.email"]) await shallow.git.run("config", key, "x@localhost");
  });

  test("is asked for the rest by what is next of a release", async () => {
    const failure = await failureOf(release(shallow.options()));
    expect(failure.message).toContain("shallow");
    expect(await shallow.follow(failure)).toMatchObject({ exitCode: 0 });
    expect((await release(shallow.options())).outcome).toBe("unchanged");
  });

  test("is asked for the rest by what is next of a rollback", async () => {
    const failure = await failureOf(rollback(shallow.options()));
    expect(await shallow.follow(failure)).toMatchObject({ exitCode: 0 });
    expect((await rollback(shallow.options())).message).toContain("000000000000");
  });

  test("is asked for the rest by what is next of a promotion", async () => {
    shallow.write(overlay("staging"), entry("000000000000"));
    await shallow.commit("staging");
    const failure = await failureOf(promote({ ...shallow.options(), from: "local", to: "staging" }));
    expect(failure.message).toContain("shallow");
    expect(await shallow.follow(failure)).toMatchObject({ exitCode: 0 });
    expect(await shallow.git.isShallow()).toBe(false);
  });
});

describe("sources that were rolled back", slow, () => {
  let failure: Awaited<ReturnType<typeof failureOf>>;
  beforeEach(async () => {
    await clone.change("one\n");
    await release(clone.options());
    await rollback(clone.options());
    failure = await failureOf(release(clone.options()));
    expect(failure.next).toContain("--force");
  });

  test("are released where they have changed", async () => {
    await clone.change("two\n");
    expect((await release(clone.options())).outcome).toBe("committed");
  });

  test("are released by the same command with --force", async () => {
    const [, instead = ""] = /\(or (.*)\)$/.exec(failure.next ?? "") ?? [];
    expect(await clone.follow({ next: instead }, ["release", "cart", ...nowhere])).toMatchObject({
      exitCode: 0,
    });
    expect(clone.read(kustomization)).toContain(await clone.tag());
  });
});

describe("a promotion", slow, () => {
  const promotion = () => ({ ...clone.options(), from: "local", to: "staging" });
  const started = ["release", "cart", "--promote", "staging", ...nowhere];
  /** Staging runs what comes after that which the default environment runs. */
  async function newerInStaging(): Promise<void> {
    const one = await clone.change("one\n");
    await release(clone.options());
    const two = await clone.change("two\n");
    clone.write(overlay("staging"), entry(one));
    await clone.commit("deploy(cart): staging");
    clone.write(overlay("staging"), entry(two));
    await clone.commit("deploy(cart): staging again");
  }

  test("that would be a downgrade is made possible by a rollback there", async () => {
    await newerInStaging();
    const failure = await failureOf(promote(promotion()));
    expect(failure.message).toContain("this would be a downgrade");
    expect(failure.next).toMatch(
      /^npm run rollback -- cart --environment staging \(or the same command with --force\)$/,
    );
    expect(
      await clone.follow({ next: `${failure.next?.split(" (")[0]} ${nowhere.join(" ")}` }),
    ).toMatchObject({
      exitCode: 0,
    });
  });

  test("that would be a downgrade is done by the same command with --force", async () => {
    await newerInStaging();
    // The registry does not answer, and is asked for one that names a mirror.
    const own = { ...promotion(), registry: { mirror: undefined, insecure: false } };
    await failureOf(promote(own));
    expect(await clone.follow({ next: "the same command with --force" }, started.slice(0, 4))).toMatchObject({
      exitCode: 0,
    });
    expect(clone.read(overlay("staging"))).not.toContain(await clone.tag());
  });
});

describe("a file that does not say what it should", () => {
  const edited = (script: string): void => {
    const editor = join(shop.directory, "editor");
    writeFileSync(editor, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    vi.stubEnv("EDITOR", editor);
  };

  test("is opened in the person's editor", async () => {
    clone.write(fault, "# percent\nDELAY_PERCENT=10\nDELAY_PERCENT=20\n");
    await clone.commit("twice");
    const failure = await failureOf(setFault(30, clone.options()));
    edited('sed -i 2d "$1"');
    expect(await clone.follow(failure)).toMatchObject({ exitCode: 0 });
    expect(clone.read(fault)).toBe("# percent\nDELAY_PERCENT=20\n");
    await clone.commit("once");
    expect((await setFault(30, clone.options())).outcome).toBe("committed");
  });

  test("is opened whatever it is called", slow, async () => {
    edited('touch "$1.seen"');
    clone.write("a file's.yaml", "");
    await clone.follow({ next: editCommand("a file's.yaml") });
    expect(clone.read("a file's.yaml.seen")).toBe("");
  });

  test("is committed where it is not there", async () => {
    await clone.git.run("rm", "--quiet", fault);
    await clone.commit("none");
    const failure = await failureOf(setFault(30, clone.options()));
    const [, line = ""] = /^commit one with the line (.*)$/.exec(failure.next ?? "") ?? [];
    clone.write(fault, `${line}\n`);
    await clone.commit("a share");
    expect((await setFault(30, clone.options())).outcome).toBe("committed");
  });

  test("is one of those that git grep lists, where several give a service its tag", slow, async () => {
    clone.write("gitops/apps/shop/base/other dir/kustomization.yaml", entry("1"));
    await clone.commit("two");
    const failure = await failureOf(release(clone.options()));
    const { all } = await clone.follow(failure);
    expect(all).toContain(`${kustomization}:`);
    expect(all).toContain("other dir/kustomization.yaml:");
  });
});

test("a rollback that has nothing to go back to shows the history of its file", slow, async () => {
  const failure = await failureOf(rollback(clone.options()));
  expect((await clone.follow(failure)).all).toContain("a shop");
});

test("an environment that is not there is one of those that are named", slow, async () => {
  clone.write(overlay("staging"), entry("1"));
  await clone.commit("staging");
  const failure = await failureOf(release({ ...clone.options(), environment: "stagign" }));
  for (const name of /^name one of (.*)$/.exec(failure.next ?? "")?.[1]?.split(", ") ?? ["none"])
    await release({ ...clone.options(), environment: name, dryRun: true });
});

test("a merge with changes of its own is kept by a merge", slow, async () => {
  await clone.person("switch", "--quiet", "--create", "side");
  clone.write("notes.txt", "side\n");
  await clone.commit("side");
  await clone.person("switch", "--quiet", "main");
  clone.write("services/cart/main.ts", "export const a = 1;\n");
  await clone.commit("main");
  await clone.person("merge", "--quiet", "--no-ff", "--no-commit", "side");
  clone.write("mine.txt", "in the merge only\n");
  await clone.commit("merge of my own");
  await shop.move();
  const failure = await failureOf(setFault(20, clone.options({ push: true })));
  expect(failure.message).toContain("a merge with changes of its own");
  expect(await clone.follow(failure)).toMatchObject({ exitCode: 0 });
  expect(clone.read("mine.txt")).toBe("in the merge only\n");
  expect((await setFault(20, clone.options({ push: true }))).outcome).toBe("pushed");
});

describe("a commit that is not there", () => {
  test.each([
    ["wait", ["wait", "nothing"]],
    ["diff", ["diff", "--base", "nothing"]],
  ])("is looked for by what %s says is next", async (_, args) => {
    const said = await gitops(...args);
    expect(said.all).toContain("no commit named nothing");
    expect(await clone.follow(said)).toMatchObject({ exitCode: 0, all: expect.stringContaining("a shop") });
  });
});

test("a release for the registry of a kind cluster is one that the command line takes", slow, async () => {
  const [found] = adviceIn("bootstrap/existing/src/kind.ts");
  const line = found?.text
    .slice(1, -1)
    .replace(/\$\{service\}/, "cart")
    .replace(/\$\{.*\}/, "127.0.0.1:9");
  await clone.change("one\n");
  expect(await clone.follow({ next: line })).toMatchObject({ exitCode: 0 });
  expect(shop.built().at(-1)).toMatch(/^push .*127\.0\.0\.1:9\/registry\.example\/shop\/cart:/);
});

test("a share whose result has a finding explains the rule", slow, async () => {
  clone.write("gitops/clusters/one/kustomization.yaml", "resources: [nothing.yaml]\n");
  await clone.commit("a cluster that does not render");
  const said = await gitops("fault", "33", "--directory", clone.directory);
  expect(said.all).toContain("the result is not valid");
  const rule = said.next.split(" ").at(-1) ?? "";
  const explained = expect.stringMatching(new RegExp(`^${rule}: `));
  expect(await clone.follow(said)).toMatchObject({ exitCode: 0, all: explained });
});

test("a rule that is not there is looked for in the list", async () => {
  const said = await gitops("validate", "--explain", "nothing");
  expect(said).toMatchObject({ exitCode: 2, next: expect.stringMatching(/^npm run validate/) });
  expect((await clone.follow(said)).all).toContain("image-pinned");
});

test("a builder that is not there is installed", slow, async () => {
  vi.stubEnv("IMAGE_BUILDER", undefined);
  const bin = join(shop.directory, "none");
  mkdirSync(bin);
  vi.stubEnv("PATH", bin);
  const { next = "" } = await failureOf(findBuilder());
  vi.unstubAllEnvs();
  // What apt-get would do; doing it is not a test's to decide.
  await clone.follow({ next: "apt-get update" });
  expect(await clone.follow({ next: next.replace("install", "install --simulate") })).toMatchObject({
    exitCode: 0,
  });
});

test("Git that is not there is installed", slow, async () => {
  vi.stubEnv("PATH", "/nonexistent");
  const failure = await failureOf(setFault(3, clone.options()));
  vi.unstubAllEnvs();
  expect(failure.message).toBe("git is not on the PATH");
  const next = failure.next?.replace("install", "install --simulate");
  expect(await clone.follow({ next })).toMatchObject({ exitCode: 0 });
});

test("a directory of temporary files that is not there is made", async () => {
  vi.stubEnv("TMPDIR", join(shop.directory, "not there"));
  const failure = await failureOf(setFault(30, clone.options()));
  expect(await clone.follow(failure)).toMatchObject({ exitCode: 0 });
  expect((await setFault(30, clone.options())).outcome).toBe("committed");
});

describe("what the doctor says is next", () => {
  const application = {
    metadata: { name: "root" },
    spec: { source: { repoURL: "http://elsewhere/r.git", targetRevision: "main" } },
    status: { sync: { status: "Synced", revision: "a".repeat(40) }, health: { status: "Healthy" } },
  };
  beforeEach(() => {
    const items = JSON.stringify({ items: [application] });
    const script = `#!/bin/sh
case "$*" in
  *readyz*) printf ok ;;
  *applications.argoproj.io\\ root*) echo '${JSON.stringify(application)}' ;;
  *applications*) echo '${items}' ;;
  *) echo '{"serverVersion":{"gitVersion":"v1.36.1"},"metadata":{"name":"x"},"items":[]}' ;;
esac
`;
    writeFileSync(join(shop.directory, "bin/kubectl"), script, { mode: 0o755 });
    vi.stubEnv("PATH", `${join(shop.directory, "bin")}:${process.env.PATH}`);
    vi.stubEnv("KUBE_CONTEXT", "mine");
    vi.stubEnv("KUBECONFIG", undefined);
    vi.stubEnv("WAIT_SECONDS", "0");
  });
  const remedy = async (what: string): Promise<string> =>
    (await examine(clone.directory)).find((diagnosis) => diagnosis.what === what)?.remedy ?? "";

  test("commits what is not committed", async () => {
    clone.write("new.txt", "mine\n");
    clone.hook("prepare-commit-msg", 'echo mine > "$1"');
    expect(await clone.follow({ next: await remedy("uncommitted changes") })).toMatchObject({ exitCode: 0 });
    expect(await clone.git.run("show", "HEAD:new.txt")).toBe("mine");
  });

  test("pushes what is not pushed", slow, async () => {
    const tag = await clone.change("one\n");
    expect(await clone.follow({ next: await remedy("unpushed commits") })).toMatchObject({ exitCode: 0 });
    expect(await shop.bare.run("rev-parse", "main:services/cart")).toContain(tag);
  });

  test("pulls what others have pushed, and leaves what is not committed", slow, async () => {
    await shop.move();
    clone.write("notes.txt", "mine\n");
    expect(await clone.follow({ next: await remedy("unpushed commits") })).toMatchObject({ exitCode: 0 });
    expect([clone.read("theirs.txt"), clone.read("notes.txt")]).toEqual(["theirs\n", "mine\n"]);
  });

  test("pulls and pushes where both have gone on", slow, async () => {
    await shop.move();
    await clone.change("one\n");
    clone.write("notes.txt", "mine\n");
    expect(await clone.follow({ next: await remedy("unpushed commits") })).toMatchObject({ exitCode: 0 });
    expect(await shop.bare.run("rev-parse", "main")).toBe(await clone.git.run("rev-parse", "HEAD"));
    expect(clone.read("notes.txt")).toBe("mine\n");
  });

  test("asks the remote that Git does not reach", slow, async () => {
    rmSync(shop.bare.directory, { recursive: true });
    const next = await remedy("unpushed commits");
    expect(next).toBe("git ls-remote origin");
    expect((await clone.follow({ next })).all).toContain("does not appear to be a git repository");
  });

  test("shows what Argo CD says of the repository", async () => {
    const broken = { ...application, status: { conditions: [{ type: "ComparisonError", message: "no" }] } };
    const kubectl = `#!/bin/sh\necho "$*" >> ${shop.calls}\nprintf '%s' '${JSON.stringify(broken)}'\n`;
    writeFileSync(join(shop.directory, "bin/kubectl"), kubectl, { mode: 0o755 });
    const next = await remedy("repository from inside the cluster");
    expect(await clone.follow({ next })).toMatchObject({ exitCode: 0 });
    expect(shop.built().at(-1)).toBe("--context mine -n argocd logs deploy/argocd-repo-server --tail=20");
  });

  test("waits for what Argo CD does not run yet, on the cluster that is meant", slow, async () => {
    const next = await remedy("what Argo CD runs");
    expect(next).toBe("KUBE_CONTEXT=mine npm run wait -- origin/main");
    // The revision is that of the checkout the tool is in.
    expect((await clone.follow({ next: next.replace("origin/main", "HEAD") })).all).toContain(
      "kubectl --context mine",
    );
  });
});

test("where no cluster is chosen, what is next chooses one", async () => {
  vi.stubEnv("KUBECONFIG", undefined);
  vi.stubEnv("KUBE_CONTEXT", undefined);
  vi.stubEnv("HOME", shop.directory);
  const failure = await failureOf(waitForCommit("a".repeat(40), 0));
  clone.write("deploy.sh", "#!/bin/sh\n[ \"$1\" = env ] && echo 'export KUBECONFIG=/there'\n");
  chmodSync(join(clone.directory, "deploy.sh"), 0o755);
  expect((await clone.follow({ next: `${failure.next} && echo $KUBECONFIG` })).all).toBe("/there");
});

test("an object that is gone is found by git fsck", slow, async () => {
  const object = await clone.git.run("rev-parse", `HEAD:${kustomization}`);
  // In a clone of its own file system objects are links: only this name goes.
  rmSync(join(clone.directory, ".git/objects", object.slice(0, 2), object.slice(2)));
  const failure = await failureOf(clone.git.texts([object]));
  expect((await clone.follow(failure)).all).toContain(`missing blob ${object}`);
});
