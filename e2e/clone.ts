/** A clone of the platform's repository, to push from: the checkout the tests run from stays as it is. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Git } from "../lib/git/git.ts";
import { exported } from "./platform.ts";

/** A temporary clone with the branch main checked out. */
export class Clone {
  readonly directory = mkdtempSync(join(tmpdir(), "e2e-clone-"));
  /** The commit that main was at. */
  found = "";

  /** Clones with the credentials that `./deploy.sh env` exports. */
  static async make(): Promise<Clone> {
    const clone = new Clone();
    await clone.git("clone", "--quiet", "--branch", "main", exported("GIT_URL"), ".");
    await clone.git("config", "user.name", "e2e");
    await clone.git("config", "user.email", "e2e@localhost");
    clone.found = await clone.git("rev-parse", "HEAD");
    return clone;
  }

  /** Runs git in the clone and returns what it prints. */
  async git(...args: string[]): Promise<string> {
    return new Git(this.directory).run(...args);
  }

  /** Rewrites a file. */
  edit(path: string, change: (text: string) => string): void {
    const file = join(this.directory, path);
    const before = readFileSync(file, "utf8");
    const after = change(before);
    if (after === before) throw new Error(`the edit changes nothing in ${path}`);
    writeFileSync(file, after);
  }

  /** Writes a new file. */
  write(path: string, text: string): void {
    writeFileSync(join(this.directory, path), text);
  }

  /** Commits everything, pushes it, and returns the commit. */
  async push(message: string): Promise<string> {
    await this.git("add", "--all");
    await this.git("commit", "--quiet", "--message", message);
    return this.pushHead();
  }

  /** Pushes what is committed and returns the commit. */
  async pushHead(): Promise<string> {
    await this.git("push", "--quiet", "origin", "HEAD:main");
    return this.git("rev-parse", "HEAD");
  }

  /**
   * Pushes the content that was found, as a new commit, since history only grows.
   * @returns that commit, or undefined where the content is what was found
   */
  async putBack(): Promise<string | undefined> {
    await this.git("fetch", "--quiet", "origin");
    await this.git("reset", "--quiet", "--hard", "origin/main");
    if ((await this.git("diff", this.found, "HEAD")) === "") return undefined;
    await this.git("read-tree", "--reset", "-u", this.found);
    return this.push("e2e: as it was found");
  }

  /** Removes the clone. */
  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
