/** Every `next:` line is run in the state in which it is printed: it helps, and the person's work is still there. */
import { chmodSync, existsSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { imageRuns, waitForCommit } from "../../lib/cluster/wait.ts";
import type { Failure } from "../../lib/failure.ts";
import { slow, sweep } from "../../lib/test/long.ts";
import { release, rollback, setFault } from "../src/release/release.ts";
import { Clone, clone, failureOf, fault, kustomization, openShop, shop } from "./shop.ts";

openShop();

/** Runs what a failure says is next. */
const follow = (failure: Failure, started?: string[]) => clone.follow(failure, started);
const head = (): Promise<string> => clone.git.run("rev-parse", "HEAD");
const main = (): Promise<string> => shop.bare.run("rev-parse", "main");
const contains = (commit: string): Promise<boolean> => clone.git.isAncestor(commit, "HEAD");
/** Something that a builder does beside its work, once, as a person would in the checkout. */
const meanwhile = (script: string): void => {
  const lines = ["#!/bin/sh", `[ -e ${shop.directory}/once ] && exit 0`, `touch ${shop.directory}/once`];
  writeFileSync(shop.builder, [...lines, `cd ${clone.directory}`, script, ""].join("\n"));
  chmodSync(shop.builder, 0o755);
};
const touch = (file: string): void => utimesSync(join(clone.directory, file), new Date(), new Date(1e12));

describe("nothing is in the way where only the index is old", () => {
  beforeEach(async () => {
    clone.write("notes.txt", "of another day\n");
    await clone.person("stash", "push", "--quiet");
    await clone.change("one\n");
    await shop.move();
  });
  afterEach(async () => {
    expect(await clone.git.run("stash", "list")).toContain("stash@{0}");
    expect(clone.read("notes.txt")).toBe("a\n");
  });

  test("because the file was touched", slow, async () => {
    touch(kustomization);
    const { commit } = await release(clone.options({ push: true }));
    expect([await head(), await main()]).toEqual([commit, commit]);
  });

  test("because the checkout is a copy", slow, async () => {
    const copy = new Clone(join(shop.directory, "copy"));
    await execa("cp", ["-r", clone.directory, copy.directory]);
    const { commit } = await release(copy.options({ push: true }));
    expect([await copy.git.run("rev-parse", "HEAD"), await main()]).toEqual([commit, commit]);
    expect(await copy.git.run("status", "--porcelain")).toBe("");
  });

  test("because its modes were changed there and back", slow, async () => {
    chmodSync(join(clone.directory, kustomization), 0o755);
    chmodSync(join(clone.directory, kustomization), 0o644);
    touch(fault);
    const { commit } = await release(clone.options({ push: true }));
    expect(await head()).toBe(commit);
  });
});

test("what is staged stays staged as it was", async () => {
  await clone.change("one\n");
  clone.write("notes.txt", "staged\n");
  await clone.person("add", "notes.txt");
  clone.write("notes.txt", "later\n");
  await shop.move();
  await release(clone.options({ push: true }));
  expect(await clone.git.run("show", ":notes.txt")).toBe("staged");
  expect(clone.read("notes.txt")).toBe("later\n");
});

describe("a checkout that does not move is told how to keep what is there", () => {
  test("a commit that was made while the image was built", async () => {
    await clone.change("one\n");
    await shop.move();
    meanwhile("echo mine > mine.txt; git add mine.txt; git commit --quiet --message mine");
    const failure = await failureOf(release(clone.options({ push: true })));
    expect(failure.message).toContain("has got another commit since");
    expect((await follow(failure)).exitCode).toBe(0);
    expect(clone.read("mine.txt")).toBe("mine\n");
    expect(await clone.git.run("log", "-1", "--format=%s")).toBe("mine");
    expect(await contains(await main())).toBe(true);
  });

  test("a pull that was made while the image was built needs nothing", slow, async () => {
    await clone.change("one\n");
    meanwhile("git push --quiet origin HEAD:main; git pull --quiet origin main");
    await release(clone.options({ push: true }));
    expect(await head()).toBe(await main());
  });

  test("a branch that was switched to while the image was built", slow, async () => {
    await clone.change("one\n");
    meanwhile(
      "git switch --quiet --create other; echo mine > mine.txt; git add mine.txt; git commit -qm mine",
    );
    const failure = await failureOf(release(clone.options({ push: true })));
    expect(failure.message).toContain("switched from main to other");
    expect((await follow(failure)).exitCode).toBe(0);
    expect(await head()).toBe(await main());
    expect(await clone.git.run("log", "-1", "--format=%s", "other")).toBe("mine");
  });

  test("a change of the file that a release writes", slow, async () => {
    await clone.change("one\n");
    clone.write(kustomization, `${clone.read(kustomization)}# mine\n`);
    const failure = await failureOf(release(clone.options({ push: true })));
    expect(failure.message).toContain(kustomization);
    expect((await follow(failure)).exitCode).toBe(0);
    expect(await head()).toBe(await main());
    expect(clone.read(kustomization)).toContain("# mine");
  });

  test("a change of the same line", slow, async () => {
    await clone.change("one\n");
    clone.write(kustomization, clone.read(kustomization).replace("000000000000", "mine"));
    const failure = await failureOf(release(clone.options({ push: true })));
    await follow(failure);
    expect(await head()).toBe(await main());
    // Git could not put the two together: the change is still in the stash.
    expect(await clone.git.run("stash", "show", "--patch")).toContain('newTag: "mine"');
  });

  sweep(["ignored", "merely new"], 0)(
    "a file that is %s here, and that somebody else has committed",
    async (what) => {
      if (what === "ignored") clone.write(".git/info/exclude", "their file.txt\n");
      await clone.change("one\n");
      await shop.move("their file.txt");
      clone.write("their file.txt", "mine\n");
      const failure = await failureOf(release(clone.options({ push: true })));
      expect(failure.message).toContain("their file.txt");
      expect(clone.read("their file.txt")).toBe("mine\n");
      expect((await follow(failure)).exitCode).toBe(0);
      expect(await head()).toBe(await main());
      expect(clone.read("their file.txt.mine")).toBe("mine\n");
    },
  );
});

describe("Git's own words are shown", () => {
  const unable: [string, Record<string, string>, RegExp][] = [
    ["that nobody is named", { "user.useConfigOnly": "true", "user.email": "" }, /email/],
    [
      "that a key cannot sign",
      { "commit.gpgSign": "true", "gpg.format": "ssh", "user.signingKey": "/nonexistent/key.pub" },
      /nonexistent|sign/,
    ],
  ];
  sweep(unable, 0)("%s, where the remote has moved", async (_, settings, said) => {
    await clone.change("one\n");
    await shop.move();
    for (const [key, value] of Object.entries(settings))
      await (value ? clone.person("config", key, value) : clone.person("config", "--unset", key));
    vi.stubEnv("GIT_CONFIG_GLOBAL", "/dev/null");
    for (const variable of ["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL", "EMAIL"])
      vi.stubEnv(variable, undefined);
    const before = [await head(), await main()];
    const { message } = await failureOf(release(clone.options({ push: true })));
    expect(message).toMatch(said);
    expect(message).not.toContain("conflicts");
    expect([await head(), await main()]).toEqual(before);
  });

  test("that a directory is no repository", async () => {
    rmSync(join(clone.directory, ".git"), { recursive: true });
    await expect(release(clone.options())).rejects.toThrow(/^fatal: not a git repository/);
  });

  test("of a hook that refuses a message", async () => {
    await clone.change("one\n");
    clone.hook("commit-msg", "echo a ticket is missing >&2; exit 1");
    await expect(release(clone.options())).rejects.toThrow("a ticket is missing");
  });

  test("of a remote that refuses the push, and that can be asked without doing it", slow, async () => {
    await clone.change("one\n");
    writeFileSync(join(shop.bare.directory, "hooks/pre-receive"), "#!/bin/sh\necho not today >&2\nexit 1\n");
    chmodSync(join(shop.bare.directory, "hooks/pre-receive"), 0o755);
    const before = [await head(), await main()];
    const failure = await failureOf(release(clone.options({ push: true })));
    expect(failure.message).toContain("not today");
    expect((await follow(failure)).exitCode).toBe(0);
    expect([await head(), await main()]).toEqual(before);
  });
});

test(
  "a commit that conflicts with the branch is brought there by what is next, with what is not committed",
  slow,
  async () => {
    clone.write("theirs.txt", "ours\n");
    await clone.commit("docs: ours");
    clone.write("notes.txt", "not committed\n");
    const theirs = await shop.move();
    const failure = await failureOf(setFault(20, clone.options({ push: true })));
    expect(failure.message).toContain('"docs: ours" conflicts with origin/main in theirs.txt');
    expect((await follow(failure)).all).toContain("CONFLICT");
    clone.write("theirs.txt", "both\n");
    await clone.person("add", "theirs.txt");
    await clone.person("rebase", "--continue");
    expect(await contains(theirs)).toBe(true);
    expect(await clone.git.run("log", "-1", "--format=%s")).toBe("docs: ours");
    expect(clone.read("notes.txt")).toBe("not committed\n");
  },
);

describe("work that is under way is not ended", () => {
  const kinds = [
    ["a merge", "git merge side"],
    ["a cherry-pick", "git cherry-pick side"],
    ["a rebase", "git rebase side"],
  ] as const;
  sweep(kinds, 0)("%s", async (what, command) => {
    await clone.person("checkout", "--quiet", "-b", "side");
    clone.write("notes.txt", "side\n");
    await clone.commit("side");
    await clone.person("checkout", "--quiet", "main");
    await clone.change("one\n");
    clone.write("notes.txt", "main\n");
    await clone.commit("main");
    await clone.shell(command);
    const before = [await clone.git.run("status"), await main()];
    const failure = await failureOf(release(clone.options({ push: true })));
    expect(failure.message).toContain(`${what} is in progress`);
    expect((await follow(failure)).all).toContain(what === "a merge" ? "merg" : what.slice(2));
    expect([await clone.git.run("status"), await main()]).toEqual(before);
  });
});

describe("what is next of a release", () => {
  test("whose sources are not committed commits them and nothing else", slow, async () => {
    clone.write("services/cart/new.ts", "export {};\n");
    clone.write("notes.txt", "staged\n");
    await clone.person("add", "notes.txt");
    const failure = await failureOf(release(clone.options()));
    clone.hook("prepare-commit-msg", 'echo new > "$1"');
    expect((await follow(failure)).exitCode).toBe(0);
    expect(await clone.git.run("show", "--name-only", "--format=", "HEAD")).toBe("services/cart/new.ts");
    expect(await clone.git.run("diff", "--cached", "--name-only")).toBe("notes.txt");
    expect((await release(clone.options())).outcome).toBe("committed");
  });

  test(
    "that is older than the branch brings the branch, whatever is checked out and not committed",
    slow,
    async () => {
      const newer = await shop.clone("newer");
      await newer.change("two\n");
      await newer.git.run("push", "--quiet", "origin", "HEAD:main");
      await clone.person("switch", "--quiet", "--create", "feature/x");
      clone.write("notes.txt", "mine\n");
      const failure = await failureOf(release(clone.options({ push: true })));
      expect(failure.message).toContain("newer sources of cart");
      expect((await follow(failure)).exitCode).toBe(0);
      expect(clone.read("notes.txt")).toBe("mine\n");
      expect((await release(clone.options({ push: true }))).outcome).toBe("pushed");
    },
  );

  test("that would be a downgrade brings the newer one", slow, async () => {
    await clone.change("one\n");
    await clone.git.run("push", "--quiet", "origin", "HEAD:main");
    const newer = await shop.clone("newer");
    await newer.change("two\n");
    await release(newer.options({ push: true }));
    await clone.git.run("fetch", "--quiet", "origin");
    clone.write("mine.txt", "mine\n");
    const mine = await clone.commit("docs: mine");
    const failure = await failureOf(release(clone.options()));
    expect(failure.message).toContain("this would be a downgrade");
    expect((await follow(failure)).exitCode).toBe(0);
    expect(await clone.git.run("log", "-1", "--format=%s")).toBe("docs: mine");
    expect(await clone.git.run("show", `${mine}:mine.txt`)).toBe("mine");
    expect((await release(clone.options({ push: true }))).outcome).toBe("pushed");
  });

  test("whose image does not build builds it again from a directory that is there", async () => {
    await clone.change("one\n");
    writeFileSync(
      shop.builder,
      `#!/bin/sh\nfor context; do :; done\n[ -e "$context/Dockerfile" ] && echo tried >&2\nexit 1\n`,
    );
    const failure = await failureOf(release(clone.options()));
    expect(failure.message).toContain("building registry.example/shop/cart");
    expect((await follow(failure)).all).toContain("tried");
  });

  test("to a remote that is not there lists those that are", slow, async () => {
    await clone.change("one\n");
    const failure = await failureOf(release(clone.options({ push: true, remote: "nowhere" })));
    expect((await follow(failure)).all).toContain("origin");
  });

  test("of a service without an image looks for one", async () => {
    clone.write("services/other/Dockerfile", "FROM scratch\n");
    await clone.commit("feat: other");
    const failure = await failureOf(release(clone.options({ service: "other" })));
    expect((await follow(failure)).all).toContain(kustomization);
    const nothing = await failureOf(release(clone.options({ service: "nothing" })));
    expect((await follow(nothing)).all).toContain("cart");
  });
});

test("what is next of a rollback to a tag that never ran is one to a tag that did", slow, async () => {
  await clone.change("one\n");
  await release(clone.options());
  const failure = await failureOf(rollback({ ...clone.options(), to: "feedfeedfeed" }));
  const started = ["rollback", "cart", "--registry", "http://127.0.0.1:9", "--to", "feedfeedfeed"];
  expect((await follow(failure, started)).exitCode).toBe(0);
  expect(clone.read(kustomization)).toContain('"000000000000"');
});

describe("a next line for a cluster names its context", () => {
  beforeEach(() => {
    const bin = join(shop.directory, "bin");
    const application = {
      metadata: { name: "logging" },
      spec: {},
      status: { sync: { status: "OutOfSync" } },
    };
    const items = JSON.stringify({ items: [application] });
    writeFileSync(
      join(bin, "kubectl"),
      `#!/bin/sh\necho "$@" >> ${shop.calls}\ncase "$*" in *applications*) echo '${items}' ;; *pods*) echo '{"items":[]}' ;; esac\n`,
    );
    chmodSync(join(bin, "kubectl"), 0o755);
    vi.stubEnv("PATH", `${bin}:${process.env.PATH}`);
    vi.stubEnv("KUBE_CONTEXT", "mine");
    // As in a shell without what ./deploy.sh env says.
    vi.stubEnv("KUBECONFIG", undefined);
    vi.stubEnv("WAIT_SECONDS", "0");
  });

  test("of wait", async () => {
    const failure = await failureOf(waitForCommit("a".repeat(40), 0));
    expect(failure.next).toBe("kubectl --context mine -n argocd describe application logging");
    expect((await follow(failure)).exitCode).toBe(0);
    expect(existsSync(shop.calls)).toBe(true);
  });

  test("of an image that no pod runs", async () => {
    const failure = await failureOf(imageRuns("registry.example/shop/cart:1", 0));
    expect(failure.next).toBe("kubectl --context mine get pods -A");
    expect((await follow(failure)).exitCode).toBe(0);
    expect(readFileSync(shop.calls, "utf8")).toContain("--context mine get pods -A");
  });
});
