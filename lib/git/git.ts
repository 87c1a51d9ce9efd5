/** The one way to Git: whatever a person has configured, commands do and print the same. */
import { existsSync } from "node:fs";
import { execa } from "execa";
import { Failure } from "../failure.ts";

/** A file of a commit. */
export interface TreeEntry {
  path: string;
  mode: string;
  object: string;
}

interface Manner {
  /** The working tree is one that the tool has made: its files are byte for byte those of the commit, and all of them. */
  made?: boolean;
  /** The person's hooks run. What is committed and pushed in their name they may have a say in; in nothing else. */
  hooks?: boolean;
}

/** Git ended with an error; the message is what it said. */
export class GitFailure extends Failure {
  readonly exitCode: number | undefined;
  constructor(message: string, exitCode: number | undefined) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Arguments before the command for a bare repository, the current directory, that another user owns. */
export const othersRepository = ["-c", "safe.directory=*", "--git-dir", "."];

/** Git in one directory. No other file starts it. */
export class Git {
  readonly directory: string;
  readonly #manner: Manner;

  constructor(directory: string, manner: Manner = {}) {
    this.directory = directory;
    this.#manner = manner;
  }

  /** The same directory in another manner. */
  with(manner: Manner): Git {
    return new Git(this.directory, { ...this.#manner, ...manner });
  }

  /** Runs git and returns what it prints. @throws GitFailure with what git says on its error output */
  async run(...args: string[]): Promise<string> {
    return text(await this.#start(args)).replace(/\n$/, "");
  }

  /** Runs git with something on its input. @throws GitFailure */
  async feed(input: string, ...args: string[]): Promise<string> {
    return text(await this.#start(args, input)).replace(/\n$/, "");
  }

  /** Runs git and returns the bytes that it prints. @throws GitFailure */
  bytes(...args: string[]): Promise<Uint8Array> {
    return this.#start(args);
  }

  /** Runs git; undefined where it fails. */
  async try(...args: string[]): Promise<string | undefined> {
    try {
      return await this.run(...args);
    } catch (error) {
      if (error instanceof GitFailure) return undefined;
      throw error;
    }
  }

  /** The full hash that a revision means, or undefined. */
  resolve(revision: string): Promise<string | undefined> {
    return this.try("rev-parse", "--verify", "--quiet", `${revision}^{commit}`);
  }

  /** True where the first commit is in the second's history, or the same. @throws GitFailure where one is not there */
  async isAncestor(first: string, second: string): Promise<boolean> {
    try {
      await this.run("merge-base", "--is-ancestor", first, second);
      return true;
    } catch (error) {
      if (error instanceof GitFailure && error.exitCode === 1) return false;
      throw error;
    }
  }

  /** True where the history of this clone ends before the repository's does. */
  async isShallow(): Promise<boolean> {
    return (await this.try("rev-parse", "--is-shallow-repository")) === "true";
  }

  /** Files of a revision, in the order of their paths: those below directories, and those that are named themselves. */
  async files(revision: string, ...places: string[]): Promise<TreeEntry[]> {
    const listed = await this.run("ls-tree", "-r", "-z", "--full-tree", revision, "--", ...places);
    return listed
      .split("\0")
      .filter(Boolean)
      .map((line) => {
        const [, mode = "", object = "", path = ""] = /^(\d+) \w+ (\w+)\t(.*)$/s.exec(line) ?? [];
        return { mode, object, path };
      });
  }

  /** The texts of objects, as they are stored. */
  async texts(objects: string[]): Promise<string[]> {
    if (objects.length === 0) return [];
    const printed = Buffer.from(await this.#start(["cat-file", "--batch"], `${objects.join("\n")}\n`));
    let at = 0;
    return objects.map((object) => {
      const end = printed.indexOf("\n", at);
      const [, , size] = printed.subarray(at, end).toString().split(" ");
      if (size === undefined) throw new Failure(`there is no object ${object}`, "git fsck");
      at = end + 1 + Number(size) + 1;
      return printed.subarray(end + 1, at - 1).toString();
    });
  }

  /** The text of a file in a revision. @throws GitFailure where it is not there */
  async textAt(revision: string, path: string): Promise<string> {
    return text(await this.bytes("cat-file", "blob", `${revision}:${path}`));
  }

  async #start(args: string[], input?: string): Promise<Uint8Array> {
    const child = execa("git", [...settings(this.#manner), ...args], {
      cwd: this.directory,
      env: environment(this.#manner),
      extendEnv: false,
      reject: false,
      encoding: "buffer",
      stripFinalNewline: false,
      ...(input === undefined ? { stdin: "ignore" } : { input }),
    });
    const { failed, stdout, stderr, exitCode, originalMessage } = await child;
    if (!failed) return stdout;
    if (originalMessage?.endsWith("spawn git ENOENT") && existsSync(this.directory))
      throw new Failure("git is not on the PATH", "apt-get install --yes git");
    const said = text(stderr).trim() || text(stdout).trim();
    throw new GitFailure(
      said || `git ${args[0]} in ${this.directory}: ${originalMessage || `exit code ${exitCode}`}`,
      exitCode,
    );
  }
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

const off = (section: string, ...keys: string[]): string[] => keys.map((key) => `${section}.${key}=false`);

// What a person sets for their own eyes and habits. Who they are, how they sign, how a host is reached and what proves
// them there is theirs to say: user, gpg, commit.gpgSign, url, http, ssh, credential and filter stay.
const neutral = [
  ...off("color", "ui", "branch", "diff", "grep", "interactive", "push", "remote", "status", "transport"),
  ...off("log", "showSignature", "decorate", "follow", "abbrevCommit"),
  "log.date=default",
  "log.showRoot=true",
  "format.pretty=medium",
  "i18n.logOutputEncoding=UTF-8",
  "i18n.commitEncoding=UTF-8",
  ...off("grep", "lineNumber", "column", "fullName", "extendedRegexp"),
  "grep.patternType=default",
  ...off("rebase", "autoSquash", "autoStash", "updateRefs", "rebaseMerges", "stat", "rescheduleFailedExec"),
  "rebase.backend=merge",
  "rebase.missingCommitsCheck=ignore",
  // A resolution of another day must not answer a conflict of now.
  "rerere.enabled=false",
  "merge.conflictStyle=merge",
  "merge.renames=true",
  "merge.directoryRenames=conflict",
  // Objects and histories as everybody else has them, not as this clone pretends.
  "core.useReplaceRefs=false",
  "advice.graftFileDeprecated=false",
  ...off("diff", "noprefix", "mnemonicPrefix", "relative"),
  "diff.renames=true",
  "diff.ignoreSubmodules=none",
  "diff.orderFile=/dev/null",
  "status.showUntrackedFiles=all",
  ...off("status", "relativePaths", "branch", "short", "showStash"),
  "column.ui=never",
  "branch.autoSetupMerge=false",
  ...off("push", "followTags", "gpgSign", "useForceIfIncludes"),
  "push.default=simple",
  "push.recurseSubmodules=no",
  // An empty value clears the list.
  "push.pushOption=",
  ...off("fetch", "prune", "pruneTags", "recurseSubmodules"),
  "submodule.recurse=false",
  "core.quotePath=false",
  "core.pager=cat",
  "core.abbrev=auto",
  "core.fsmonitor=false",
  // A line of a message that begins with it is no trailer.
  "core.commentChar=#",
  "trailer.separators=:",
  "commit.cleanup=whitespace",
  ...off("commit", "verbose", "status"),
  "tar.umask=0022",
  // Nothing goes on in the background of a directory that is about to be removed.
  "gc.auto=0",
  "maintenance.auto=false",
];

// Of the files that git writes and that the tool hands on.
const exact = [
  "core.autocrlf=false",
  "core.eol=lf",
  "core.safecrlf=false",
  "core.attributesFile=/dev/null",
  "core.sparseCheckout=false",
  "core.sparseCheckoutCone=false",
];

function settings({ made, hooks }: Manner): string[] {
  const chosen = [...neutral, ...(made ? exact : []), ...(hooks ? [] : ["core.hooksPath=/dev/null"])];
  return chosen.flatMap((setting) => ["-c", setting]);
}

// How hosts are reached, who the person is, and further configuration. Everything else, such as the GIT_DIR and
// GIT_INDEX_FILE that a hook exports, is about some other repository or some other purpose.
const heeded =
  /^GIT_(CONFIG_(COUNT|KEY_\d+|VALUE_\d+|PARAMETERS|GLOBAL|SYSTEM|NOSYSTEM)|SSH(_COMMAND|_VARIANT)?|ASKPASS|SSL_\w+|HTTP_\w+|PROXY_\w+|ALLOW_PROTOCOL|PROTOCOL_FROM_USER|EXEC_PATH|(AUTHOR|COMMITTER)_(NAME|EMAIL))$/;

function environment({ made }: Manner): Record<string, string | undefined> {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("GIT_") || heeded.test(name),
  );
  return {
    ...Object.fromEntries(inherited),
    // Its words are shown, and some are looked at.
    LC_ALL: "C",
    LANGUAGE: "",
    // Nobody is there to answer: no editor, no password prompt.
    GIT_EDITOR: "true",
    GIT_SEQUENCE_EDITOR: "true",
    GIT_TERMINAL_PROMPT: "0",
    GIT_PAGER: "cat",
    GIT_GRAFT_FILE: "/dev/null",
    ...(made && { GIT_ATTR_NOSYSTEM: "1" }),
  };
}
