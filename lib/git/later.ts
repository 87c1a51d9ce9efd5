import { type Git, GitFailure } from "./git.ts";

/** What a checkout can say of commits that came after one. */
export class LaterCommits {
  readonly #git: Git;
  readonly #commit: string;
  readonly #known = new Map<string, boolean>();

  /** @param commit full hash */
  constructor(git: Git, commit: string) {
    this.#git = git;
    this.#commit = commit;
  }

  /**
   * Those of some revisions that have the commit in their history. One that the checkout lacks is fetched, without a
   * change of any ref; where no remote has it, it counts as one that does not.
   * @param revisions full hashes; anything else, such as a chart's version, is none
   */
  async among(revisions: Iterable<string>): Promise<Set<string>> {
    const later = new Set<string>();
    for (const revision of revisions) {
      if (!/^[0-9a-f]{40}$/.test(revision) || revision === this.#commit) continue;
      const holds = this.#known.get(revision) ?? (await this.#holds(revision));
      this.#known.set(revision, holds);
      if (holds) later.add(revision);
    }
    return later;
  }

  async #holds(revision: string): Promise<boolean> {
    const there = async (): Promise<boolean> =>
      (await this.#git.try("cat-file", "-e", `${revision}^{commit}`)) !== undefined;
    if (!(await there())) {
      const remotes = (await this.#git.try("remote"))?.split("\n").filter(Boolean) ?? [];
      for (const remote of remotes) {
        await this.#git.try(...quietFetch, remote, revision);
        if (await there()) break;
      }
    }
    try {
      return await this.#git.isAncestor(this.#commit, revision);
    } catch (error) {
      // One of the two is nowhere to be had.
      if (error instanceof GitFailure) return false;
      throw error;
    }
  }
}

// A server that says nothing must not hold up who waits.
const quietFetch = ["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=10", "fetch", "--quiet"].concat([
  "--no-tags",
  "--no-write-fetch-head",
  "--no-recurse-submodules",
]);
