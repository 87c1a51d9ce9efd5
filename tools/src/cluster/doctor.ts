import { followedBranch } from "../git/followed.ts";
import { Git } from "../git/git.ts";
import { pullCommand } from "../git/publish.ts";
import { type Application, applicationTrouble } from "./applications.ts";
import { deployCommand, get, kubectl, kubectlCommand, npmCommand } from "./kubectl.ts";

/** One thing the doctor looked at: what it is, and where it is wrong the sentence that mends it. */
export interface Diagnosis {
  what: string;
  finding: string;
  remedy?: string;
}

/** One line per diagnosis, and below it what to do. */
export function formatDiagnoses(diagnoses: Diagnosis[]): string {
  return diagnoses
    .map(
      ({ what, finding, remedy }) =>
        `${remedy ? "wrong" : "ok   "} ${what}: ${finding}\n${remedy ? `      next: ${remedy}\n` : ""}`,
    )
    .join("");
}

type Check = () => Promise<Omit<Diagnosis, "what">>;

/** Looks at the cluster, the repository as Argo CD sees it, and this checkout beside it. */
export async function examine(checkout: string): Promise<Diagnosis[]> {
  const git = async (...args: string[]): Promise<string> => (await new Git(checkout).run(...args)).trim();
  const root = async (): Promise<Application> =>
    get<Application>(["applications.argoproj.io", "root", "-n", "argocd"]);
  const remote = (await git("remote").catch(() => "")).split("\n").includes("platform")
    ? "platform"
    : "origin";
  const branch = await followedBranch(new Git(checkout), remote).catch(() => "main");
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
      const changes = await git("status", "--porcelain");
      return changes === ""
        ? { finding: "none" }
        : { finding: `${changes.split("\n").length} files`, remedy: "git commit: only commits are deployed" };
    },
    "unpushed commits": async () => {
      await git("fetch", "--quiet", remote);
      const [ahead, behind] = (await git("rev-list", "--left-right", "--count", `HEAD...${main}`))
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
      const [head, { status }] = [await git("rev-parse", main), await root()];
      const revision = status?.sync?.revision;
      return revision === head
        ? { finding: `the platform's ${branch}, ${head.slice(0, 12)}` }
        : {
            finding: `${revision?.slice(0, 12) ?? "nothing"}, while ${branch} is at ${head.slice(0, 12)}`,
            remedy: npmCommand("wait", main),
          };
    },
    applications: async () => {
      const { items } = await get<{ items: Application[] }>(["applications.argoproj.io", "-n", "argocd"]);
      const trouble = items
        .map((application) => applicationTrouble(application))
        .find((t) => t !== undefined);
      return trouble
        ? { finding: trouble, remedy: deployCommand("status") }
        : { finding: `${items.length} Synced and Healthy` };
    },
  };
  const diagnoses: Diagnosis[] = [];
  for (const [what, check] of Object.entries(checks)) {
    try {
      diagnoses.push({ what, ...(await check()) });
    } catch (error) {
      const { stderr, message } = error as Error & { stderr?: string };
      diagnoses.push({
        what,
        finding: (stderr || message).trim().split("\n").pop() ?? "",
        remedy: deployCommand(),
      });
    }
  }
  return diagnoses;
}
