/** The corpus of broken repositories: each is the valid one with a mistake put in. */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { execa } from "execa";
import { load } from "js-yaml";
import { checkout } from "../../lib/repository.ts";

/** Files of the tests. */
export const fixtures = join(checkout, "tools/test/fixtures");

/** A change to a file or a directory of the valid repository. */
interface Edit {
  file: string;
  replace?: string;
  with?: string;
  write?: string;
  /** A symbolic link to this is put there. */
  link?: string;
  remove?: boolean;
}

/** One mistake, and exactly what is to be said of it. */
export interface Case {
  title: string;
  edits: Edit[];
  /** The mistake is committed, not only in the working tree. */
  commit?: boolean;
  findings: string[];
}

/** The cases by the rule that finds them. */
export function cases(): { rule: string; found: Case[] }[] {
  const directory = join(fixtures, "invalid");
  return readdirSync(directory).map((file) => ({
    rule: basename(file, ".yaml"),
    found: load(readFileSync(join(directory, file), "utf8")) as Case[],
  }));
}

/** A repository on disk with one commit, put back after every case. */
export class Sample {
  readonly directory = mkdtempSync(join(tmpdir(), "repository-"));
  #first = "";

  /** @param name a directory of fixtures/repositories */
  static async of(name: string): Promise<Sample> {
    const sample = new Sample();
    cpSync(join(fixtures, "repositories", name), sample.directory, { recursive: true });
    await sample.git("init", "--quiet", "--initial-branch=trunk");
    await sample.git("config", "user.name", "test");
    await sample.git("config", "user.email", "test@localhost");
    await sample.commit("the valid one");
    sample.#first = await sample.git("rev-parse", "HEAD");
    return sample;
  }

  async git(...args: string[]): Promise<string> {
    return (await execa("git", args, { cwd: this.directory })).stdout;
  }

  async commit(message: string): Promise<void> {
    await this.git("add", "--all");
    await this.git("commit", "--quiet", "--message", message);
  }

  /** Puts a case's mistake in. An edit that changes nothing is a mistake of the case. */
  async breakBy({ edits, commit }: Case): Promise<void> {
    for (const edit of edits) this.#apply(edit);
    if (commit) await this.commit("a mistake");
  }

  async restore(): Promise<void> {
    await this.git("reset", "--quiet", "--hard", this.#first);
    await this.git("clean", "--quiet", "--force", "-d", "-x");
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  #apply({ file, replace, with: by, write, link, remove }: Edit): void {
    const path = join(this.directory, file);
    if (link !== undefined) {
      mkdirSync(dirname(path), { recursive: true });
      symlinkSync(link, path);
      return;
    }
    if (remove) {
      rmSync(path, { recursive: true });
      return;
    }
    if (write !== undefined) {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, write);
      return;
    }
    const text = readFileSync(path, "utf8");
    if (replace === undefined || !text.includes(replace)) throw new Error(`${file} does not hold ${replace}`);
    writeFileSync(
      path,
      text.replace(replace, () => by ?? ""),
    );
  }
}
