/** What was deployed and rolled back is remembered by trailers that the files confirm, and nothing of a person's is dropped. */
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { slow, sweep } from "../../lib/test/long.ts";
import { lastRolledBack } from "../src/git/deployments.ts";
import { promote } from "../src/release/promote.ts";
import { release, rollback, setFault } from "../src/release/release.ts";
import { Clone, clone, failureOf, fault, kustomization, openShop, shop } from "./shop.ts";

openShop();

const head = (): Promise<string> => clone.git.run("rev-parse", "HEAD");
const main = (): Promise<string> => shop.bare.run("rev-parse", "main");

/** Two tags are deployed and the second is rolled back: its sources are those of HEAD. */
async function rolledBack(of: Clone, push = false): Promise<string> {
  await of.change("one\n");
  await release(of.options({ push }));
  const two = await of.change("two\n");
  await release(of.options({ push }));
  await rollback(of.options({ push }));
  return two;
}

describe("a commit of a person that conflicts is never dropped", () => {
  const write = (text: string): void =>
    clone.write(kustomization, clone.read(kustomization).replace("# The shop", text));

  const messages = [
    ["a subject like the tool's", "deploy(cart): write down why"],
    ["the subject of a share", "fault(app): write down why"],
    ["trailers like the tool's", "docs: why\n\nImage: registry.example/shop/cart:000000000001"],
  ] as const;
  sweep(messages, 1)("with %s", async (_, message) => {
    write("# Ours");
    const ours = await clone.commit(message);
    const theirs = await shop.move(kustomization, "# Theirs\nkind: Kustomization\n");
    const subject = message.split("\n")[0];
    await expect(release(clone.options({ push: true }))).rejects.toThrow(
      `"${subject}" conflicts with origin/main in ${kustomization}`,
    );
    expect(await head()).toBe(ours);
    expect(await main()).toBe(theirs);
  });

  test("where it is the tool's with something added", slow, async () => {
    const other = await shop.clone("other");
    await clone.change("one\n");
    await release(clone.options());
    write("# Ours");
    await clone.person("commit", "--quiet", "--all", "--amend", "--no-edit");
    const ours = await head();
    await other.change("theirs\n", "theirs.ts");
    await release(other.options({ push: true }));
    await expect(release(clone.options({ push: true }))).rejects.toThrow(
      /"deploy\(cart\): \w+" conflicts with/,
    );
    expect(await head()).toBe(ours);
  });

  test("where it is a merge with changes of its own", slow, async () => {
    await clone.person("checkout", "--quiet", "-b", "side");
    clone.write("side.txt", "side\n");
    await clone.commit("feat: side");
    await clone.person("checkout", "--quiet", "main");
    clone.write("ours.txt", "ours\n");
    await clone.commit("feat: ours");
    await clone.person("merge", "--quiet", "--no-commit", "--no-ff", "side");
    clone.write("between.txt", "only the merge has it\n");
    const ours = await clone.commit("Merge branch side");
    await shop.move();
    const { message, next = "" } = await failureOf(setFault(50, clone.options({ push: true })));
    expect(message).toContain('"Merge branch side" is a merge with changes of its own');
    expect(await head()).toBe(ours);
    expect((await clone.shell(next)).exitCode).toBe(0);
    await setFault(50, clone.options({ push: true }));
    expect(await shop.remote("between.txt")).toBe("only the merge has it");
    expect(await shop.remote("theirs.txt")).toBe("theirs");
  });
});

describe("a commit of the tool that conflicts is made anew", () => {
  test("of an image", slow, async () => {
    await clone.change("ours\n", "ours.ts");
    await release(clone.options());
    const other = await shop.clone("other");
    await other.change("theirs\n", "theirs.ts");
    await release(other.options({ push: true }));
    expect((await release(clone.options({ push: true }))).outcome).toBe("pushed");
    const tree = await shop.bare.run("rev-parse", "main:services/cart");
    expect(await shop.remote(kustomization)).toContain(`newTag: "${tree.slice(0, 12)}"`);
  });

  test("of a share", async () => {
    await setFault(20, clone.options());
    await setFault(30, (await shop.clone("other")).options({ push: true }));
    expect((await setFault(40, clone.options({ push: true }))).outcome).toBe("pushed");
    expect(await shop.remote(fault)).toContain("DELAY_PERCENT=40");
    expect(await shop.bare.run("log", "-1", "--format=%B", "main")).toContain("Delay-Percent: 40");
  });
});

describe("sources that were rolled back are refused", () => {
  const hooks = [
    ["puts a number in front", "prepare-commit-msg", "sed -i '1s/^/ABC-1: /' \"$1\""],
    ["adds a paragraph", "commit-msg", "printf '\\nSee the wiki for what this means\\n' >> \"$1\""],
    ["adds a trailer", "commit-msg", 'git interpret-trailers --in-place --trailer "Change-Id: I1" "$1"'],
  ] as const;
  sweep(hooks, 0)("where a hook %s", async (_, hook, script) => {
    clone.hook(hook, script);
    const two = await rolledBack(clone);
    await expect(release(clone.options())).rejects.toThrow(`${two} was rolled back`);
  });

  test("whatever people's commits say since", slow, async () => {
    const two = await rolledBack(clone);
    const image = /Image: (.*)/.exec(await clone.git.run("log", "-1", "--format=%B"))?.[1];
    for (const message of [`deploy(cart): ${two}`, `docs: what runs\n\nImage: ${image}`]) {
      clone.write("notes.txt", `${message}\n`);
      await clone.commit(message);
    }
    expect(await lastRolledBack(clone.directory, "cart")).toBe(two);
    await expect(release(clone.options())).rejects.toThrow(`${two} was rolled back`);
  });
});

describe("a shallow clone", () => {
  let shallow: Clone;
  let two: string;
  beforeEach(async () => {
    two = await rolledBack(clone, true);
    clone.write("notes.txt", "later\n");
    await clone.commit("docs: later");
    await clone.git.run("push", "--quiet", "origin", "HEAD:main");
    shallow = new Clone(join(shop.directory, "shallow"));
    await shop.bare.run("clone", "--quiet", "--depth=1", `file://${shop.bare.directory}`, shallow.directory);
    await shallow.git.run("config", "user.name", "shallow");
    await shallow.git.run("config", "user.email", "shallow@localhost");
  });

  test("cannot know what was rolled back, and says what to do", slow, async () => {
    const { message, next = "" } = await failureOf(release(shallow.options({ push: true })));
    expect(message).toContain("this clone is shallow");
    await expect(lastRolledBack(shallow.directory, "cart")).rejects.toThrow("this clone is shallow");
    expect((await shallow.shell(next)).exitCode).toBe(0);
    await expect(release(shallow.options({ push: true }))).rejects.toThrow(`${two} was rolled back`);
  });

  test("cannot know what was deployed before, and says what to do", slow, async () => {
    const { message, next = "" } = await failureOf(rollback(shallow.options()));
    expect(message).toContain("this clone is shallow");
    await expect(rollback({ ...shallow.options(), to: two })).rejects.toThrow("this clone is shallow");
    expect((await shallow.shell(next)).exitCode).toBe(0);
    expect((await rollback({ ...shallow.options(), to: two })).message).toBe(`deploy(cart): ${two}`);
  });

  test("cannot know which sources are older, and says what to do", slow, async () => {
    const overlay = "gitops/apps/shop/overlays/staging/kustomization.yaml";
    shallow.write(overlay, `images:\n  - name: registry.example/shop/cart\n    newTag: "${two}"\n`);
    await shallow.commit("an environment");
    const options = { ...shallow.options(), from: "local", to: "staging" };
    const { message, next = "" } = await failureOf(promote(options));
    expect(message).toContain("this clone is shallow");
    expect((await shallow.shell(next)).exitCode).toBe(0);
    await expect(promote(options)).rejects.toThrow("this would be a downgrade");
  });

  test("sets a share, on top of what others pushed", slow, async () => {
    await shop.move();
    expect((await setFault(70, shallow.options({ push: true }))).outcome).toBe("pushed");
    expect(await shop.remote(fault)).toContain("DELAY_PERCENT=70");
    expect(await shop.remote("theirs.txt")).toBe("theirs");
  });
});

test("a clone of one other branch releases to main, on top of what others pushed", slow, async () => {
  await clone.git.run("push", "--quiet", "origin", "HEAD:feature/x");
  const single = new Clone(join(shop.directory, "single"));
  const options = ["--single-branch", "--branch", "feature/x"];
  await shop.bare.run("clone", "--quiet", ...options, `file://${shop.bare.directory}`, single.directory);
  await single.git.run("config", "user.name", "single");
  await single.git.run("config", "user.email", "single@localhost");
  const tag = await single.change("one\n");
  await shop.move();
  expect((await release(single.options({ push: true }))).outcome).toBe("pushed");
  expect(await shop.remote(kustomization)).toContain(tag);
  expect(await shop.remote("theirs.txt")).toBe("theirs");
});

test("a branch that the remote does not have is created", async () => {
  await clone.change("one\n");
  const { outcome, commit } = await release(clone.options({ push: true, branch: "next" }));
  expect(outcome).toBe("pushed");
  expect(await shop.bare.run("rev-parse", "next")).toBe(commit);
});

describe("what was rolled back is remembered", () => {
  test("of a commit that others were squashed with, as the pages of Git servers do", slow, async () => {
    const two = await rolledBack(clone);
    const message = await clone.git.run("log", "-1", "--format=%B");
    await clone.person("reset", "--quiet", "--soft", "HEAD~1");
    const squashed = `Take cart back (#12)\n\n* ${message}\n\n* docs: why\n\nCo-authored-by: A <a@b>`;
    await clone.person("commit", "--quiet", "--message", squashed);
    await expect(release(clone.options())).rejects.toThrow(`${two} was rolled back`);
  });

  test(
    "of one that was merged by git merge --squash, whose message is moved to the right",
    slow,
    async () => {
      await clone.change("one\n");
      await release(clone.options());
      const two = await clone.change("two\n");
      await release(clone.options());
      await clone.person("switch", "--quiet", "--create", "side");
      await rollback(clone.options());
      await clone.person("switch", "--quiet", "main");
      await clone.person("merge", "--quiet", "--squash", "side");
      await clone.person("commit", "--quiet", "--no-edit");
      await expect(release(clone.options())).rejects.toThrow(`${two} was rolled back`);
    },
  );

  test("of one that was picked from another branch and signed off", slow, async () => {
    const two = await rolledBack(clone);
    const picked = await head();
    await clone.person("reset", "--quiet", "--hard", "HEAD~1");
    await clone.person("cherry-pick", "-x", "--signoff", picked);
    await expect(release(clone.options())).rejects.toThrow(`${two} was rolled back`);
  });

  test("and not of what a message only quotes", slow, async () => {
    await rolledBack(clone);
    const message = await clone.git.run("log", "-1", "--format=%B");
    await clone.change("three\n");
    await release(clone.options());
    clone.write("notes.txt", "why\n");
    await clone.commit(`docs: why\n\n${message}\n\nMore prose.`);
    expect((await release(clone.options())).outcome).toBe("unchanged");
  });

  describe("where a deployment was squashed with its rollback, so that no file tells of them,", slow, () => {
    /** Squashes all commits since one tag was deployed as a person or a page does, and returns the second. */
    async function squashed(how: (since: string, messages: string[]) => Promise<unknown>): Promise<string> {
      await clone.change("one\n");
      await release(clone.options());
      const since = await head();
      const two = await clone.change("two\n");
      await release(clone.options());
      await rollback(clone.options());
      const log = await clone.git.run("log", "-z", "--reverse", "--format=%B", `${since}..`);
      await how(since, log.split("\0"));
      expect(await clone.git.run("rev-list", "--count", `${since}..`)).toBe("1");
      expect(await clone.git.run("diff", "--name-only", since)).toBe("services/cart/main.ts");
      return two;
    }
    const commitAs = async (since: string, message: string): Promise<void> => {
      await clone.person("reset", "--quiet", "--soft", since);
      await clone.person("commit", "--quiet", "--message", message);
    };

    const ways: [string, (since: string, messages: string[]) => Promise<unknown>][] = [
      [
        "by the page of a Git server",
        (since, messages) =>
          commitAs(since, `Try two (#12)\n\n${messages.map((m) => `* ${m}`).join("\n\n")}`),
      ],
      [
        "by git rebase",
        async (since) => {
          const editor = "sed -i '2,$s/^pick/squash/'";
          await clone.person("-c", `sequence.editor=${editor}`, "rebase", "--quiet", "--interactive", since);
        },
      ],
      [
        "by git merge --squash",
        async (since) => {
          await clone.person("branch", "side");
          await clone.person("reset", "--quiet", "--hard", since);
          await clone.person("merge", "--quiet", "--squash", "side");
          await clone.person("commit", "--quiet", "--no-edit");
        },
      ],
      [
        "by git merge --squash, with words of one's own and a signature",
        async (since) => {
          await clone.person("branch", "side");
          await clone.person("reset", "--quiet", "--hard", since);
          await clone.person("merge", "--quiet", "--squash", "side");
          const log = clone.read(".git/SQUASH_MSG");
          await clone.person("commit", "--quiet", "--signoff", "--message", `feat: try two\n\n${log}`);
        },
      ],
    ];
    sweep(ways, 2)("%s", async (_, how) => {
      const two = await squashed(how);
      expect(await lastRolledBack(clone.directory, "cart")).toBe(two);
      await expect(release(clone.options())).rejects.toThrow(`${two} was rolled back`);
    });

    test("and another tag was deployed in between", async () => {
      await clone.change("one\n");
      await release(clone.options());
      const since = await head();
      const one = await clone.tag();
      await clone.change("two\n");
      await release(clone.options());
      const three = await clone.change("three\n");
      await release(clone.options());
      await rollback({ ...clone.options(), to: one });
      const log = await clone.git.run("log", "--reverse", "--format=%B", `${since}..`);
      await commitAs(since, `Try things\n\n${log}`);
      await expect(release(clone.options())).rejects.toThrow(`${three} was rolled back`);
    });

    test("and sources that were changed since are released", async () => {
      await squashed((since, messages) => commitAs(since, `Try two\n\n${messages.join("\n")}`));
      const three = await clone.change("three\n");
      expect((await release(clone.options())).message).toBe(`deploy(cart): ${three}`);
      expect(await lastRolledBack(clone.directory, "cart")).toBeUndefined();
    });

    test("and not of an environment or a service that the message does not name", async () => {
      await squashed((since, messages) => commitAs(since, `Try two\n\n${messages.join("\n")}`));
      expect(await lastRolledBack(clone.directory, "cart", "staging")).toBeUndefined();
      expect(await lastRolledBack(clone.directory, "other")).toBeUndefined();
    });

    test("and not of a rollback alone, which some message only quotes", async () => {
      await clone.change("one\n");
      await release(clone.options());
      const two = await clone.change("two\n");
      await release(clone.options());
      await rollback(clone.options());
      const quote = await clone.git.run("log", "-1", "--format=%B");
      await release({ ...clone.options(), force: true });
      const three = await clone.change("three\n");
      await release(clone.options());
      const one = /Image: .*:(.*)/.exec(quote)?.[1] ?? "";
      await rollback({ ...clone.options(), to: one });
      clone.write("notes.txt", "why\n");
      await clone.commit(`docs: why ${two} did not do\n\n${quote}`);
      await expect(release(clone.options())).rejects.toThrow(`${three} was rolled back`);
    });
  });

  sweep(["blob:none", "tree:0"], 0)("in a clone that fetches what it needs (%s)", async (filter) => {
    const two = await rolledBack(clone, true);
    for (const key of ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"])
      await shop.bare.run("config", key, "true");
    const partial = new Clone(join(shop.directory, "partial"));
    await shop.bare.run(
      "clone",
      "--quiet",
      `--filter=${filter}`,
      `file://${shop.bare.directory}`,
      partial.directory,
    );
    for (const key of ["user.name", "user.email"]) await partial.git.run("config", key, "x@localhost");
    await expect(release(partial.options())).rejects.toThrow(`${two} was rolled back`);
    await shop.move();
    expect((await setFault(20, partial.options({ push: true }))).outcome).toBe("pushed");
  });
});
