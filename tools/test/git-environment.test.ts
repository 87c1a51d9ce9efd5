/** Machines as people have them: umasks, other users, branches and remotes of every kind. */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterEach, describe, expect, test } from "vitest";
import { isSsh, sshAddress } from "../../bootstrap/existing/src/credentials.ts";
import { probeAddress } from "../../bootstrap/existing/src/probe.ts";
import { unpackCommitted } from "../../lib/git/source-tag.ts";
import { checkout } from "../../lib/repository.ts";
import { bundle } from "../../lib/test/bundle.ts";
import { slow, sweep } from "../../lib/test/long.ts";
import { replaceYamlScalar } from "../src/git/scalar.ts";
import { release, setFault } from "../src/release/release.ts";
import { clone, fault, kustomization, openShop, shop } from "./shop.ts";

openShop();

const cli = await bundle(join(checkout, "tools/src/cli.ts"));
/** Runs the command as a process of its own, from a shell. */
const gitops = (line: string) =>
  execa("sh", ["-c", `${line.replace("gitops", `node ${cli}`)}`], {
    cwd: clone.directory,
    reject: false,
    all: true,
    env: { REGISTRY: "http://127.0.0.1:9" },
  });
const here = (): string => `--directory ${clone.directory} --remote origin --no-validate`;

describe("under umask 077", () => {
  test("what is built has the modes that Git knows", slow, async () => {
    clone.write("services/cart/sub/run.sh", "#!/bin/sh\n");
    chmodSync(join(clone.directory, "services/cart/sub/run.sh"), 0o755);
    await clone.commit("feat: a script");
    // Writes down the modes of its context.
    writeFileSync(
      shop.builder,
      `#!/bin/sh\n[ "$1" = build ] && cd "$4" && stat -c '%a %n' . main.ts sub sub/run.sh > ${shop.calls}\nexit 0\n`,
    );
    const { exitCode, all } = await gitops(`umask 077; gitops release cart ${here()}`);
    expect(exitCode, all).toBe(0);
    expect(shop.built()).toEqual(["755 .", "644 main.ts", "755 sub", "755 sub/run.sh"]);
  });

  test("what is unpacked has them too", async () => {
    const target = mkdtempSync(join(tmpdir(), "unpacked-"));
    // Tar takes away what the umask says from whoever is not root.
    const before = process.umask(0o077);
    try {
      await unpackCommitted(clone.directory, "services/cart", target);
    } finally {
      process.umask(before);
    }
    expect((statSync(join(target, "main.ts")).mode & 0o777).toString(8)).toBe("644");
    rmSync(target, { recursive: true });
  });
});

describe("what is left in the directory for temporary files", () => {
  const left: string[] = [];
  const leave = (name: string): string => {
    // Of a process that is gone.
    const path = join(tmpdir(), `gitops-worktree-4194999-${name}-${process.pid}`);
    left.push(path);
    return path;
  };
  afterEach(() => {
    for (const path of left.splice(0)) rmSync(path, { recursive: true, force: true });
  });

  test("by another user stays, and is in nobody's way", slow, async () => {
    const theirs = leave("theirs");
    mkdirSync(theirs, { mode: 0o700 });
    chownSync(theirs, 65534, 65534);
    await setFault(20, clone.options());
    expect(existsSync(theirs)).toBe(true);
  });

  test("as a link stays, and where it leads too", async () => {
    const [link, target] = [
      leave("link"),
      leave("target-of-link").replace("gitops-worktree", "gitops-other"),
    ];
    left.push(target);
    mkdirSync(target);
    symlinkSync(target, link);
    await setFault(20, clone.options());
    expect([existsSync(link), existsSync(target)]).toEqual([true, true]);
  });

  test("by this user is removed", async () => {
    const ours = leave("ours");
    mkdirSync(ours);
    await setFault(20, clone.options());
    expect(existsSync(ours)).toBe(false);
  });
});

describe("the branch is the one that the cluster follows", () => {
  const source = (cluster: string, branch: string, repository = "https://git.example/a.git"): void =>
    clone.write(
      `gitops/clusters/${cluster}/source/configmap.yaml`,
      `kind: ConfigMap\ndata:\n  repository: ${repository}\n  branch: ${branch}\n`,
    );
  const branches = async (): Promise<string[]> =>
    (await shop.bare.run("for-each-ref", "--format=%(refname:short)", "refs/heads")).split("\n");

  const followed: [string, () => Promise<void>][] = [
    ["of the only cluster", async () => source("embedded", "trunk")],
    [
      "of the cluster that is not on this machine",
      async () => {
        source("embedded", "main");
        source("upstream", "trunk");
      },
    ],
    [
      "of the cluster that reads the remote",
      async () => {
        source("one", "main");
        source("two", "trunk", shop.bare.directory);
      },
    ],
    [
      "that the remote has",
      async () => {
        source("embedded", "trunk");
        source("upstream", "main");
      },
    ],
  ];
  sweep(followed, 0)("%s", async (_, write) => {
    await shop.bare.run("branch", "--move", "main", "trunk");
    await clone.person("fetch", "--quiet", "--prune", "origin");
    await write();
    await clone.commit("another branch");
    const { exitCode, all } = await gitops(`gitops fault 33 --push ${here()}`);
    expect(exitCode, all).toBe(0);
    expect(await branches()).toEqual(["trunk"]);
    expect(await shop.bare.run("show", `trunk:${fault}`)).toContain("DELAY_PERCENT=33");
  });

  test("or has to be named where clusters follow several", slow, async () => {
    source("one", "main");
    source("two", "trunk");
    await clone.commit("two clusters");
    const { exitCode, all } = await gitops(`gitops fault 33 --push ${here()}`);
    expect(exitCode).toBe(1);
    expect(all).toContain("main and trunk");
    expect((await gitops(`gitops fault 33 --push --branch main ${here()}`)).exitCode).toBe(0);
    expect(await branches()).toEqual(["main"]);
  });
});

describe("a remote's URL", () => {
  const paths = [
    ["a path from the checkout", "../bare.git"],
    ["a path with ./ in front", "./../bare.git"],
    ["a path through the checkout itself", ".git/../../bare.git"],
  ] as const;
  sweep(paths, 0)("may be %s", async (_, url) => {
    await clone.person("remote", "set-url", "origin", url);
    const tag = await clone.change("one\n");
    await shop.move();
    expect((await release(clone.options({ push: true }))).outcome).toBe("pushed");
    expect(await shop.remote(kustomization)).toContain(tag);
  });

  test.each([
    ["github.com:a/b.git", "tcp://github.com:22"],
    ["git@github.com:a/b.git", "tcp://github.com:22"],
    ["ssh://git@git.example:2222/a/b.git", "tcp://git.example:2222"],
    ["ssh://git.example/a.git", "tcp://git.example:22"],
    ["git+ssh://git.example/a.git", "tcp://git.example:22"],
    ["work:a.git", "tcp://work:22"],
    ["[git.example:2222]:a.git", "tcp://git.example:2222"],
    ["git@[::1]:a.git", "tcp://[::1]:22"],
  ])("%s is one of SSH", (repository, address) => {
    expect(isSsh(repository)).toBe(true);
    expect(probeAddress(repository)).toBe(address);
  });

  test.each([
    "https://github.com/a/b.git",
    "http://git.example:3000/a.git",
    "/srv/a:b.git",
    "./a:b",
    "git://a/b",
  ])("%s is not", (repository) => expect(sshAddress(repository)).toBeUndefined());
});

describe("a tag", () => {
  const entry = (value: string): string =>
    `images:\n  - name: cart\n    newTag: ${value}\n    newName: r/cart\n`;
  test.each([
    [">-", ">-\n      000\n", '"111"\n'],
    ["|", "|\n      000\n", '"111"\n'],
    [">- with lines of Windows", ">-\r\n      000\r\n", '"111"\r\n'],
    ["over two lines", '"000\\\n      0"\n', '"111"\n'],
    ["with an anchor", '&tag "000"\n', '&tag "111"\n'],
    ["with a type", "!!str 000\n", '!!str "111"\n'],
  ])("that is written %s is replaced", (_, value, expected) => {
    const text = entry(value).replace("\n\n", "\n").replace("\r\n\n", "\r\n");
    const wanted = entry(expected).replace("\n\n", "\n").replace("\r\n\n", "\r\n");
    expect(replaceYamlScalar("f", text, ["images", 0, "newTag"], "111")).toBe(wanted);
  });

  test("that is missing after its key is written there", () => {
    expect(replaceYamlScalar("f", "a:\nb: 1\n", ["a"], "x")).toBe('a: "x"\nb: 1\n');
  });

  test("at the end of a file that ends without a line's end is replaced", () => {
    expect(replaceYamlScalar("f", "a: >-\n  x", ["a"], "y")).toBe('a: "y"');
  });

  test("that is an alias of another value is refused", () => {
    expect(() => replaceYamlScalar("f", "b: &b 1\na: *b\n", ["a"], "x")).toThrow("f has no value at a");
  });

  test("in a block is released", slow, async () => {
    clone.write(
      kustomization,
      clone.read(kustomization).replace(/newTag: "000000000000".*/, "newTag: >-\n      000000000000"),
    );
    await clone.commit("a block");
    const tag = await clone.change("one\n");
    await release(clone.options({ push: true }));
    expect(await shop.remote(kustomization)).toContain(`    newTag: "${tag}"\nresources: []`);
  });
});
