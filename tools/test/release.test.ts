import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, test } from "vitest";
import { parseRegistry } from "../../lib/images/build.ts";
import { amount, slow, sweep } from "../../lib/test/long.ts";
import { lastRolledBack } from "../src/git/deployments.ts";
import { release, rollback, setFault } from "../src/release/release.ts";
import { type Clone, clone, example, fault, kustomization, openShop, shop } from "./shop.ts";

openShop();

const status = (): Promise<string> => clone.git.run("status", "--porcelain");
const subjects = (revision = "HEAD"): Promise<string> => clone.git.run("log", "--format=%s", revision);

describe("a release", () => {
  test("builds the committed sources, changes the tag and nothing else, and says what it did", async () => {
    const tag = await clone.change("one\n");
    const source = await clone.git.run("rev-parse", "HEAD");
    const before = [clone.read(kustomization), clone.read(example)];
    clone.write("notes.txt", "not committed\n");
    const { outcome, commit, message } = await release(clone.options());
    expect({ outcome, message }).toEqual({ outcome: "committed", message: `deploy(cart): ${tag}` });
    expect([clone.read(kustomization), clone.read(example)]).toEqual(
      before.map((text) => text.replace("000000000000", tag)),
    );
    expect(await clone.git.run("log", "-1", "--format=%B")).toBe(
      `deploy(cart): ${tag}\n\nImage: registry.example/shop/cart:${tag}\nSource-Commit: ${source}\n`,
    );
    expect(await clone.git.run("rev-parse", "HEAD")).toBe(commit);
    expect(await clone.git.run("rev-parse", "HEAD~1")).toBe(source);
    expect(await status()).toBe(" M notes.txt");
    const [build, push] = shop.built();
    expect(build).toMatch(
      new RegExp(`^build --tag 127.0.0.1:9/registry.example/shop/cart:${tag} /.*/services/cart$`),
    );
    expect(push).toBe(`push --tls-verify=false 127.0.0.1:9/registry.example/shop/cart:${tag}`);
    expect(await clone.git.run("worktree", "list", "--porcelain")).toMatch(
      /^worktree [^\n]*\n[^\n]*\n[^\n]*\n?$/,
    );
  });

  test("of sources that are released already does nothing, but pushes what is not pushed", slow, async () => {
    await clone.change("one\n");
    const first = await release(clone.options());
    expect(await release(clone.options())).toMatchObject({ outcome: "unchanged", commit: first.commit });
    expect(await shop.bare.run("rev-parse", "main")).not.toBe(first.commit);
    expect(await release(clone.options({ push: true }))).toMatchObject({
      outcome: "pushed",
      commit: first.commit,
    });
    expect(await release(clone.options({ push: true }))).toMatchObject({
      outcome: "unchanged",
      commit: first.commit,
    });
    expect(await shop.bare.run("rev-parse", "main")).toBe(first.commit);
  });

  test("builds nothing where the registry has the tag", slow, async () => {
    const asked: string[] = [];
    const server: Server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.end();
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    try {
      const tag = await clone.change("one\n");
      const registry = parseRegistry(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
      await release(clone.options({ registry }));
      expect(asked).toEqual([`HEAD /v2/registry.example/shop/cart/manifests/${tag}`]);
      expect(shop.built()).toEqual([]);
    } finally {
      server.close();
    }
  });

  test("moves the branch that is checked out, also where a tag has its name", slow, async () => {
    await clone.person("tag", "main");
    await clone.change("one\n");
    const { commit } = await release(clone.options());
    expect(await clone.git.run("symbolic-ref", "HEAD")).toBe("refs/heads/main");
    expect(await clone.git.run("rev-parse", "refs/heads/main")).toBe(commit);
  });

  test("of sources that are not committed is refused", async () => {
    clone.write("services/cart/main.ts", "two\n");
    await expect(release(clone.options())).rejects.toThrow("services/cart/main.ts is not committed");
    expect(shop.built()).toEqual([]);
  });

  test("that is only tried changes nothing", slow, async () => {
    const tag = await clone.change("one\n");
    const head = await clone.git.run("rev-parse", "HEAD");
    const planned = await release(clone.options({ push: true, dryRun: true }));
    expect(planned.outcome).toBe("planned");
    expect(planned.message).toContain(`deploy(cart): ${tag}\n  edits ${kustomization}\n  edits ${example}`);
    expect(await clone.git.run("rev-parse", "HEAD")).toBe(head);
    expect(await shop.bare.run("rev-parse", "main")).toBe(await clone.git.run("rev-parse", "HEAD~1"));
    expect(shop.built()).toEqual([]);
  });

  test("whose result is not valid is not committed", slow, async () => {
    await clone.change("one\n");
    const check = async (): Promise<void> => {
      throw new Error("not valid");
    };
    await expect(release(clone.options({ check, push: true }))).rejects.toThrow("not valid");
    expect(await subjects()).not.toContain("deploy(");
    expect(await status()).toBe("");
  });

  test("goes on top of what others pushed meanwhile", slow, async () => {
    const other = await shop.clone("other");
    other.write("notes.txt", "theirs\n");
    const theirs = await other.commit("docs: theirs");
    await other.git.run("push", "--quiet", "origin", "HEAD:main");
    const tag = await clone.change("one\n");
    const { commit } = await release(clone.options({ push: true }));
    expect(await shop.bare.run("rev-parse", "main", "main~2")).toBe(`${commit}\n${theirs}`);
    expect(await shop.remote(kustomization)).toContain(`newTag: "${tag}"`);
    expect(clone.read("notes.txt")).toBe("theirs\n");
  });

  test(
    "stops when its sources conflict with the branch, and leaves the checkout as it was",
    slow,
    async () => {
      const other = await shop.clone("other");
      await other.change("theirs\n");
      await release(other.options({ push: true }));
      await clone.change("ours\n");
      const head = await clone.git.run("rev-parse", "HEAD");
      await expect(release(clone.options({ push: true }))).rejects.toThrow(
        '"feat(cart): ours" conflicts with origin/main in services/cart/main.ts',
      );
      expect(await clone.git.run("rev-parse", "HEAD")).toBe(head);
      expect(await status()).toBe("");
    },
  );

  test("stops when a newer one has superseded it", slow, async () => {
    await clone.change("one\n");
    await clone.git.run("push", "--quiet", "origin", "HEAD:main");
    const newer = await shop.clone("newer");
    const tag = await newer.change("two\n");
    const { commit } = await release(newer.options({ push: true }));
    const late = await release(clone.options({ push: true }));
    expect(late).toMatchObject({ outcome: "superseded", commit });
    expect(late.message).toContain(`${tag} of a newer commit than HEAD is already deployed`);
    expect(await shop.bare.run("rev-parse", "main")).toBe(commit);
  });

  test("of a branch whose newer sources are not released asks for a pull", slow, async () => {
    const newer = await shop.clone("newer");
    await newer.change("two\n");
    await newer.git.run("push", "--quiet", "origin", "HEAD:main");
    await expect(release(clone.options({ push: true }))).rejects.toThrow(
      "newer sources of cart than this checkout",
    );
  });

  test("refuses a downgrade", async () => {
    await clone.change("one\n");
    await clone.git.run("push", "--quiet", "origin", "HEAD:main");
    const newer = await shop.clone("newer");
    await newer.change("two\n");
    await release(newer.options({ push: true }));
    await clone.git.run("fetch", "--quiet", "origin");
    // A commit of its own keeps the old sources out of the newer history.
    clone.write("notes.txt", "old\n");
    await clone.commit("docs: old");
    await expect(release(clone.options())).rejects.toThrow("this would be a downgrade");
  });

  test("says why the remote refuses", slow, async () => {
    await clone.change("one\n");
    await clone.git.run("remote", "set-url", "--push", "origin", `${shop.directory}/gone.git`);
    await expect(release(clone.options({ push: true }))).rejects.toThrow(
      /origin refuses the push: .*gone\.git/,
    );
    expect(await subjects()).not.toContain("deploy(");
  });
});

describe("a rollback", () => {
  test("puts the tag before back, and holds until the sources change", async () => {
    const one = await clone.change("one\n");
    await release(clone.options({ push: true }));
    const two = await clone.change("two\n");
    await release(clone.options({ push: true }));
    expect((await rollback(clone.options({ push: true }))).message).toBe(`deploy(cart): ${one}`);
    expect(await shop.remote(kustomization)).toContain(`newTag: "${one}"`);
    expect(await clone.git.run("log", "-1", "--format=%B")).toContain(`Rolled-Back: ${two}`);
    expect(await lastRolledBack(clone.directory, "cart")).toBe(two);

    await expect(release(clone.options())).rejects.toThrow(`${two} was rolled back`);
    const three = await clone.change("three\n");
    expect((await release(clone.options({ push: true }))).message).toBe(`deploy(cart): ${three}`);
    expect(await lastRolledBack(clone.directory, "cart")).toBeUndefined();
  });

  test("goes to a tag that is named, if it was ever deployed, and can be undone by force", slow, async () => {
    const one = await clone.change("one\n");
    await release(clone.options());
    await release({ ...clone.options(), root: (await change("two\n")).directory });
    const three = await clone.change("three\n");
    await release(clone.options());
    expect((await rollback({ ...clone.options(), to: one })).message).toBe(`deploy(cart): ${one}`);
    await expect(rollback({ ...clone.options(), to: "feedfeedfeed" })).rejects.toThrow(
      "never deployed with tag",
    );
    expect((await release(clone.options({ force: true }))).message).toBe(`deploy(cart): ${three}`);
  });

  const change = async (text: string): Promise<Clone> => {
    await clone.change(text);
    return clone;
  };
});

describe("a fault share", () => {
  test("changes one number", async () => {
    const before = clone.read(fault);
    const { outcome, message } = await setFault(50, clone.options({ push: true }));
    expect({ outcome, message }).toEqual({
      outcome: "pushed",
      message: "fault(app): delay 50 % of POST /log",
    });
    expect(await shop.remote(fault)).toBe(before.replace("DELAY_PERCENT=10", "DELAY_PERCENT=50").trimEnd());
    expect(await setFault(50, clone.options())).toMatchObject({ outcome: "unchanged" });
  });

  test("is refused where the line is not there", async () => {
    clone.write(fault, "DELAY=10\n");
    await clone.commit("x");
    await expect(setFault(50, clone.options())).rejects.toThrow("has 0 lines DELAY_PERCENT=");
  });
});

const rounds = amount(5, 50);
test(`two clones that race ${rounds} times both end in a consistent branch`, {
  ...slow,
  timeout: 600_000,
}, async () => {
  const rivals = await Promise.all(["left", "right"].map((name) => shop.clone(name)));
  for (let round = 1; round <= rounds; round++) {
    const outcomes = await Promise.all(
      rivals.map(async (rival, index) => {
        await rival.change(`${round}\n`, `part-${index}.ts`);
        return release(rival.options({ push: true }));
      }),
    );
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(["pushed", "pushed"]);
    const tree = await shop.bare.run("rev-parse", "main:services/cart");
    expect(await shop.remote(kustomization)).toContain(`newTag: "${tree.slice(0, 12)}"`);
    expect(await shop.remote(example)).toContain(`cart:${tree.slice(0, 12)}`);
    for (const index of [0, 1]) expect(await shop.remote(`services/cart/part-${index}.ts`)).toBe(`${round}`);
  }
  const [commits, merges] = await Promise.all([
    shop.bare.run("rev-list", "--count", "main"),
    shop.bare.run("rev-list", "--count", "--merges", "main"),
  ]);
  expect({ commits, merges }).toEqual({ commits: String(1 + 4 * rounds), merges: "0" });
  for (const rival of rivals) expect(await rival.git.run("status", "--porcelain")).toBe("");
});

describe("the kustomization of a service", () => {
  sweep(["kustomization.yml", "Kustomization"], 0)("may be called %s", async (name) => {
    const renamed = kustomization.replace("kustomization.yaml", name);
    await clone.git.run("mv", kustomization, renamed);
    await clone.commit("renamed");
    const tag = await clone.change("one\n");
    await release(clone.options());
    expect(clone.read(renamed)).toContain(`newTag: "${tag}"`);
    expect((await rollback(clone.options())).outcome).toBe("committed");
    expect(clone.read(renamed)).toContain('newTag: "000000000000"');
  });

  const shapes = [
    "images: {name: cart, newTag: 1}\n",
    "images: [cart, 3, null, {name: [cart], newTag: 1}, {newTag: 1}]\n",
    "images: newTag\n",
    "- newTag\n",
    "images: [\nnewTag\n",
    "newTag\n",
  ];
  sweep(shapes, 0)("is found beside one of another shape: %j", async (text) => {
    clone.write("gitops/apps/shop/base/another/kustomization.yaml", text);
    await clone.commit("another");
    const tag = await clone.change("one\n");
    await release(clone.options());
    expect(clone.read(kustomization)).toContain(`newTag: "${tag}"`);
  });
});
