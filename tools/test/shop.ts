/** Real repositories with one service: a bare one that is pushed to, and clones of it. */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { execa } from "execa";
import { afterEach, beforeEach, vi } from "vitest";
import type { Failure } from "../../lib/failure.ts";
import { Git } from "../../lib/git/git.ts";
import { parseRegistry } from "../../lib/images/build.ts";
import { checkout } from "../../lib/repository.ts";
import { bundle } from "../../lib/test/bundle.ts";
import { type Followed, follow } from "../../lib/test/follow.ts";
import { spelledOut } from "../src/cli/usage.ts";
import type { ReleaseOptions } from "../src/release/release.ts";

export const kustomization = "gitops/apps/shop/base/cart/kustomization.yaml";
export const example = "docs/examples/cart-pod.yaml";
export const fault = "gitops/apps/logging/base/mesh/fault.env";

const files: Record<string, string> = {
  "gitops.yaml": readFileSync(join(checkout, "gitops.yaml"), "utf8"),
  "services/cart/Dockerfile": "FROM scratch\nCOPY . .\n",
  "services/cart/main.ts": "export {};\n",
  // Odd on purpose: what a bump does not mean it leaves as it is.
  [kustomization]:
    '# The shop\nkind:   Kustomization\nimages:\n  - {name: other, newTag: "1"}\n  - name: cart   # ours\n    newName: registry.example/shop/cart\n    newTag: "000000000000"   # of the sources\nresources: []\n',
  [example]: "kind: Pod\nspec:\n  containers:\n    - image: registry.example/shop/cart:000000000000\n",
  [fault]: "# percent\nDELAY_PERCENT=10\nOTHER=10\n",
  "notes.txt": "a\n",
};

/** The shop of the test that runs, and a clone in it; see openShop. */
export let shop: Shop;
export let clone: Clone;

/** Gives each test of a file a shop with one clone, whose builder builds nothing. */
export function openShop(): void {
  beforeEach(async () => {
    shop = await Shop.open();
    clone = await shop.clone("clone");
    vi.stubEnv("IMAGE_BUILDER", shop.builder);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    shop.close();
  });
}

let prepared: Promise<string> | undefined;
/** The name of a clone that nobody has worked in. */
const untouched = "untouched-clone";

/** The refs of a shop's bare repository, each with what it points to. */
function refsOf(directory: string): string {
  const bare = join(directory, "bare.git");
  const found = readdirSync(join(bare, "refs"), { recursive: true, withFileTypes: true });
  const files = found.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  const all = [join(bare, "HEAD"), join(bare, "packed-refs"), join(bare, "config"), ...files.sort()];
  return all
    .map((file) => `${relative(bare, file)} ${existsSync(file) ? readFileSync(file, "utf8") : ""}`)
    .join();
}

const isRepository = (path: string): boolean => [".git", "refs"].some((name) => existsSync(join(path, name)));

/** A directory with a bare repository, to be removed at the end. */
export class Shop {
  readonly directory = mkdtempSync(join(tmpdir(), "shop-"));
  readonly calls = join(this.directory, "calls");
  readonly builder = join(this.directory, "builder");
  readonly bare = new Git(join(this.directory, "bare.git"));

  static async open(): Promise<Shop> {
    prepared ??= Shop.#prepare();
    const template = await prepared;
    const shop = new Shop();
    for (const name of ["bare.git", "first"]) shop.#copy(template, name);
    await shop.#furnish();
    shop.#first = { directory: template, refs: refsOf(template) };
    return shop;
  }

  /** A shop with the same repositories: what tests of a file have in common is made once. */
  async copy(): Promise<Shop> {
    const shop = new Shop();
    for (const name of readdirSync(this.directory).filter((entry) =>
      isRepository(join(this.directory, entry)),
    ))
      shop.#copy(this.directory, name);
    await shop.#furnish();
    return shop;
  }

  #first: { directory: string; refs: string } | undefined;

  /** Copies a repository, which knows others of its shop by their paths. */
  #copy(from: string, name: string, as = name): void {
    const target = join(this.directory, as);
    cpSync(join(from, name), target, { recursive: true, verbatimSymlinks: true });
    const configuration = [join(target, ".git/config"), join(target, "config")].find(existsSync) ?? "";
    const text = readFileSync(configuration, "utf8").replaceAll(from, this.directory);
    writeFileSync(configuration, as === name ? text : text.replaceAll(name, as));
  }

  /** Puts beside the repositories what stands in for docker, and npm with the tool. */
  async #furnish(): Promise<void> {
    // It writes down what it is asked and builds nothing.
    writeFileSync(this.builder, `#!/bin/sh\necho "$@" >> ${this.calls}\n`);
    chmodSync(this.builder, 0o755);
    const bin = join(this.directory, "bin");
    mkdirSync(bin);
    const cli = await bundle(join(checkout, "tools/src/cli.ts"));
    // Its sources are no Argo CD repository that could be validated.
    const npm = `#!/bin/sh
shift; name=$1; shift; [ "$1" = -- ] && shift
case $name in release | rollback | fault) set -- "$@" --directory "$PWD" --no-validate ;; esac
exec ${process.execPath} ${cli} "$name" "$@"
`;
    writeFileSync(join(bin, "npm"), npm, { mode: 0o755 });
  }

  /** Makes the repositories once for all tests of a process; each shop has a copy. */
  static async #prepare(): Promise<string> {
    const shop = new Shop();
    process.once("exit", () => shop.close());
    mkdirSync(shop.bare.directory);
    await shop.bare.run("init", "--quiet", "--bare", "--initial-branch=main");
    const first = await shop.clone("first", false);
    for (const [file, text] of Object.entries(files)) first.write(file, text);
    await first.commit("a shop");
    await first.git.run("push", "--quiet", "origin", "HEAD:main");
    await shop.clone(untouched);
    return shop.directory;
  }

  /** A clone with the remote's commits. */
  async clone(name: string, filled = true): Promise<Clone> {
    const clone = new Clone(join(this.directory, name));
    if (filled && this.#first && this.#first.refs === refsOf(this.directory)) {
      this.#copy(this.#first.directory, untouched, name);
      return clone;
    }
    const own = [`user.name=${name}`, `user.email=${name}@localhost`, "commit.gpgSign=false"];
    const settings = own.flatMap((setting) => ["--config", setting]);
    await this.bare.run("clone", "--quiet", ...settings, this.bare.directory, clone.directory);
    if (!filled) await clone.git.run("checkout", "--quiet", "-B", "main");
    return clone;
  }

  /** What the builder was asked to do. */
  built(): string[] {
    return existsSync(this.calls) ? readFileSync(this.calls, "utf8").trim().split("\n") : [];
  }

  /** Somebody else pushes a commit, so that whoever pushes next has to rebase. */
  async move(file = "theirs.txt", text = "theirs\n"): Promise<string> {
    const other = await this.clone(`other-${Math.random()}`);
    other.write(file, text);
    const commit = await other.commit("docs: theirs");
    await other.git.run("push", "--quiet", "origin", "HEAD:main");
    return commit;
  }

  /** A file of the remote branch. */
  remote(file: string): Promise<string> {
    return this.bare.run("show", `main:${file}`);
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A clone to work in. */
export class Clone {
  readonly directory: string;
  readonly git: Git;

  constructor(directory: string) {
    this.directory = directory;
    this.git = new Git(directory);
  }

  /** Git as the person runs it: with their configuration, their hooks and nothing neutralised. */
  async person(...args: string[]): Promise<string> {
    return (await execa("git", args, { cwd: this.directory, env: { GIT_EDITOR: "true" } })).stdout;
  }

  /**
   * Does what a failure says is next. `npm run` is the tool on this clone.
   * @param started what the command line was, for a failure that says to call it again
   */
  follow({ next = "" }: { next?: string | undefined }, started: string[] = []): Promise<Followed> {
    const bin = join(this.directory, "../bin");
    return follow(spelledOut(next, started), {
      cwd: this.directory,
      env: { PATH: `${bin}:${process.env.PATH}` },
    });
  }

  /** Runs a command line in the clone. */
  async shell(line: string): Promise<{ exitCode: number | undefined; all: string }> {
    const { exitCode, all } = await execa("sh", ["-c", line], {
      cwd: this.directory,
      all: true,
      reject: false,
      env: { GIT_EDITOR: "true" },
    });
    return { exitCode, all };
  }

  /** Puts a hook into the clone. */
  hook(name: string, script: string): void {
    this.write(`.git/hooks/${name}`, `#!/bin/sh\n${script}\n`);
    chmodSync(join(this.directory, ".git/hooks", name), 0o755);
  }

  read(file: string): string {
    return readFileSync(join(this.directory, file), "utf8");
  }

  write(file: string, text: string): void {
    mkdirSync(dirname(join(this.directory, file)), { recursive: true });
    writeFileSync(join(this.directory, file), text);
  }

  async commit(message: string): Promise<string> {
    await this.git.run("add", "--all");
    await this.git.run("commit", "--quiet", "--message", message);
    return this.git.run("rev-parse", "HEAD");
  }

  /** Commits a change of the service's sources and returns their tag. */
  async change(text: string, file = "main.ts"): Promise<string> {
    this.write(`services/cart/${file}`, text);
    await this.commit(`feat(cart): ${text.trim()}`);
    return this.tag();
  }

  async tag(revision = "HEAD"): Promise<string> {
    return (await this.git.run("rev-parse", `${revision}:services/cart`)).slice(0, 12);
  }

  /** Options of a release from this clone; nothing listens at the registry, so every tag is built. */
  options(more: Partial<ReleaseOptions> = {}): ReleaseOptions {
    const registry = parseRegistry("http://127.0.0.1:9");
    return {
      root: this.directory,
      remote: "origin",
      branch: "main",
      push: false,
      service: "cart",
      registry,
      ...more,
    };
  }
}

/** What a piece of work fails with; rejects where it does not fail. */
export const failureOf = (work: Promise<unknown>): Promise<Failure> =>
  work.then(
    () => Promise.reject(new Error("it did not fail")),
    (error: Failure) => error,
  );
