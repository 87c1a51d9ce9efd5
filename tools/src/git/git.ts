import { execa } from "execa";

/** Git in one directory. */
export class Git {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** Runs git and returns what it prints. @throws with what git says on its error output */
  async run(...args: string[]): Promise<string> {
    return (await execa("git", args, { cwd: this.directory, env: quiet })).stdout;
  }

  /** Runs git; undefined where it fails. */
  async try(...args: string[]): Promise<string | undefined> {
    const { stdout, failed } = await execa("git", args, { cwd: this.directory, env: quiet, reject: false });
    return failed ? undefined : stdout;
  }

  /** The full hash that a revision means, or undefined. */
  resolve(revision: string): Promise<string | undefined> {
    return this.try("rev-parse", "--verify", "--quiet", `${revision}^{commit}`);
  }

  /** True where the first commit is in the second's history, or the same. */
  async isAncestor(first: string, second: string): Promise<boolean> {
    return (await this.try("merge-base", "--is-ancestor", first, second)) !== undefined;
  }
}

// Nobody is there to answer: no editor, no password prompt.
const quiet = { GIT_EDITOR: "true", GIT_TERMINAL_PROMPT: "0" };
