import { followedBranch, pullCommand } from "../git/followed.ts";
import { Git, GitFailure } from "../git/git.ts";
import { sameRepository } from "../git/repository-url.ts";
import {
  type Application,
  applicationTrouble,
  platformApplications,
  platformSource,
  rootName,
  runningRevision,
} from "./applications.ts";
import { deployCommand, get, kubectl, kubectlCommand, npmCommand } from "./kubectl.ts";

/** One thing that the doctor looked at: what it is, and if it is wrong, how to repair it. */
export interface Diagnosis {
  what: string;
  finding: string;
  remedy?: string;
}

/** One line per diagnosis, with what to do below it. */
export function formatDiagnoses(diagnoses: Diagnosis[]): string {
  return diagnoses
    .map(
      ({ what, finding, remedy }) =>
        `${remedy ? "wrong" : "ok   "} ${what}: ${finding}\n${remedy ? `      next: ${remedy}\n` : ""}`,
    )
    .join("");
}

type Check = () => Promise<Omit<Diagnosis, "what">>;

/** Where a checkout finds what Argo CD reads. */
interface Upstream {
  remote: string;
  branch: string;
}

/**
 * The remote and the branch that Argo CD follows. The embedded cluster has an address of its own for its repository, so
 * there the remote is the one named `platform`, or else `origin`.
 */
async function upstreamOf(git: Git, root: Application | undefined): Promise<Upstream> {
  const source = root && platformSource([root]);
  const remotes = ((await git.try("remote")) ?? "").split("\n").filter(Boolean);
  const urls = await Promise.all(remotes.map((name) => git.try("config", "--get-all", `remote.${name}.url`)));
  const same = remotes.find((_, index) =>
    urls[index]?.split("\n").some((url) => sameRepository(url, source?.repoURL ?? "")),
  );
  const remote = same ?? (remotes.includes("platform") ? "platform" : "origin");
  // If Argo CD is held at a tag or a commit, that is not a branch that a push moves.
  const named = (source?.targetRevision ?? "main").replace(/^refs\/heads\//, "");
  const known = await git.try("ls-remote", "--exit-code", "--heads", remote, `refs/heads/${named}`);
  return { remote, branch: known ? named : await followedBranch(git, remote).catch(() => "main") };
}

/** Looks at the cluster, the repository as Argo CD sees it, and this checkout beside it. */
export async function examine(checkout: string): Promise<Diagnosis[]> {
  const git = new Git(checkout);
  const root = async (): Promise<Application> =>
    get<Application>(["applications.argoproj.io", rootName, "-n", "argocd"]);
  const { remote, branch } = await upstreamOf(git, await root().catch(() => undefined));
  const main = `${remote}/${branch}`;
  const checks: Record<string, Check> = {
    "API server": async () => {
      const answer = await kubectl(["get", "--raw", "/readyz"]);
      return answer === "ok" ? { finding: "ready" } : { finding: answer, remedy: deployCommand() };
    },
    versions: async () => {
      const { serverVersion } = JSON.parse(await kubectl(["version", "-o", "json"])) as {
        serverVersion: { gitVersion: string };
      };
      const definition = await get<{ metadata: { name: string } }>(["crd", "applications.argoproj.io"]);
      return { finding: `Kubernetes ${serverVersion.gitVersion}, ${definition.metadata.name} is defined` };
    },
    "repository from inside the cluster": async () => {
      const condition = (await root()).status?.conditions?.find(({ type }) => type === "ComparisonError");
      return condition
        ? {
            finding: condition.message,
            remedy: kubectlCommand("-n", "argocd", "logs", "deploy/argocd-repo-server", "--tail=20"),
          }
        : { finding: "Argo CD reads it" };
    },
    "uncommitted changes": async () => {
      const changes = await git.run("status", "--porcelain");
      return changes === ""
        ? { finding: "none" }
        : {
            finding: `${changes.split("\n").length} files`,
            remedy: "git add --all && git commit (only commits are deployed)",
          };
    },
    "unpushed commits": async () => {
      // The branch is named, because a clone of a single branch fetches no other.
      await git.run("fetch", "--quiet", remote, `+refs/heads/${branch}:refs/remotes/${main}`);
      const [ahead, behind] = (await git.run("rev-list", "--left-right", "--count", `HEAD...${main}`))
        .split(/\s+/)
        .map(Number);
      if (ahead && behind)
        return {
          finding: `HEAD and the platform have diverged (${ahead} and ${behind} commits)`,
          remedy: `${pullCommand(remote, branch)} && git push ${remote} HEAD:${branch}`,
        };
      if (ahead) return { finding: `${ahead}`, remedy: `git push ${remote} HEAD:${branch}` };
      if (behind)
        return { finding: `none; the platform is ${behind} ahead`, remedy: pullCommand(remote, branch) };
      return { finding: "none" };
    },
    "what Argo CD runs": async () => {
      const [head, application] = [await git.run("rev-parse", main), await root()];
      const revision = runningRevision(application, platformSource([application]));
      return revision === head.slice(0, 12)
        ? { finding: `the platform's ${branch}, ${revision}` }
        : {
            finding: `${revision || "nothing"}, while ${branch} is at ${head.slice(0, 12)}`,
            remedy: npmCommand("wait", main),
          };
    },
    applications: async () => {
      const { items } = await get<{ items: Application[] }>(["applications.argoproj.io", "-n", "argocd"]);
      const ours = platformApplications(items);
      const trouble = ours.map((application) => applicationTrouble(application)).find(Boolean);
      if (trouble) return { finding: trouble, remedy: deployCommand("status") };
      const others = items.length - ours.length;
      const beside = others > 0 ? `; ${others} more are not the platform's` : "";
      return { finding: `${ours.length} Synced and Healthy${beside}` };
    },
  };
  const diagnoses: Diagnosis[] = [];
  for (const [what, check] of Object.entries(checks)) {
    try {
      diagnoses.push({ what, ...(await check()) });
    } catch (error) {
      const { stderr, message } = error as Error & { stderr?: string };
      const ask = error instanceof GitFailure ? `git ls-remote ${remote}` : deployCommand();
      diagnoses.push({ what, ...words(stderr || message, ask) });
    }
  }
  return diagnoses;
}

/** Takes apart what a failed program said: what is wrong, and the command that repairs it, if it names one. */
export function words(text: string, otherwise = deployCommand()): Omit<Diagnosis, "what"> {
  const lines = text.trim().split("\n");
  const finding = lines.find((line) => /^(fatal|error): /.test(line)) ?? lines.at(-1) ?? "";
  const remedy = lines.map((line) => line.trim()).find((line) => line.startsWith("git config "));
  return { finding, remedy: remedy ?? otherwise };
}
