import { Failure, FinalFailure, until } from "../failure.ts";
import { Git } from "../git/git.ts";
import { LaterCommits } from "../git/later.ts";
import { progress } from "../progress.ts";
import {
  type Application,
  applicationTrouble,
  lagsBehind,
  platformApplications,
  platformRevisions,
  platformSource,
  refreshAnnotation,
} from "./applications.ts";
import { deployCommand, get, kubectl, kubectlCommand } from "./kubectl.ts";
import { type Pod, podTrouble, worstTrouble } from "./pods.ts";

const refreshEverySeconds = 5;

/**
 * Waits until every Application of the platform is Synced and Healthy, runs the commit if it follows the platform's
 * branch, and its pods are ready. It does not wait for other people's Applications.
 * @param commit full hash
 * @param checkout tells later commits from others: one that contains this commit counts as well, because Argo CD never
 * goes back behind somebody else's later push. Without it only the commit itself counts
 * @throws Failure naming the Application or the pod, its condition and the next command
 */
export async function waitForCommit(commit: string, seconds: number, checkout?: string): Promise<void> {
  let asked = Date.now();
  let culprit: string | undefined;
  const history = checkout === undefined ? undefined : new LaterCommits(new Git(checkout), commit);
  const probe = async (): Promise<string | undefined> => {
    const { items } = await get<{ items: Application[] }>(["applications.argoproj.io", "-n", "argocd"]);
    if (items.length === 0) return "there are no Applications yet";
    const platform = platformSource(items);
    const ours = platformApplications(items);
    const running = new Set(ours.flatMap((application) => platformRevisions(application, platform)));
    const later = (await history?.among(running)) ?? [];
    const troubles = ours.flatMap((application) => {
      const trouble = applicationTrouble(application, commit, platform, later);
      return trouble ? [{ application, trouble }] : [];
    });
    if (troubles.length === 0) return undefined;
    const behind = ours.filter((application) => lagsBehind(application, commit, platform, later));
    if (behind.length > 0 && Date.now() - asked > refreshEverySeconds * 1000) {
      asked = Date.now();
      await refresh(behind.map(({ metadata }) => metadata.name));
    }
    // The root waits for its children: the Application whose pod fails is the one to name.
    for (const { application, trouble } of troubles) {
      const pod = await troubledPod(application);
      if (!pod) continue;
      culprit = application.metadata.name;
      progress(`${trouble}; ${pod}`);
      return `${trouble}; ${pod}`;
    }
    culprit = troubles[0]?.application.metadata.name;
    progress(troubles[0]?.trouble ?? "");
    return troubles[0]?.trouble;
  };
  try {
    await until(`commit ${commit.slice(0, 12)}`, seconds, probe);
  } catch (error) {
    if (error instanceof FinalFailure) throw error;
    const next = culprit
      ? kubectlCommand("-n", "argocd", "describe", "application", culprit)
      : deployCommand("status");
    throw new Failure(error instanceof Error ? error.message : String(error), next);
  }
}

// This asks repeatedly: Argo CD takes a request that comes during a comparison as answered by that comparison.
async function refresh(names: string[]): Promise<void> {
  const annotation = `${refreshAnnotation}=normal`;
  await kubectl([
    "-n",
    "argocd",
    "annotate",
    "applications.argoproj.io",
    ...names,
    "--overwrite",
    annotation,
  ]);
}

async function troubledPod({ spec }: Application): Promise<string | undefined> {
  const namespace = spec.destination?.namespace;
  if (!namespace || namespace === "argocd") return undefined;
  const { items } = await get<{ items: Pod[] }>(["pods", "-n", namespace]);
  return worstTrouble(items);
}

/**
 * Waits until an image runs in ready pods.
 * @param image with its tag
 * @returns how many pods run it
 */
export async function imageRuns(image: string, seconds: number): Promise<number> {
  let count = 0;
  const name = image.slice(0, image.lastIndexOf(":") + 1);
  const probe = async (): Promise<string | undefined> => {
    const { items } = await get<{ items: Pod[] }>(["pods", "-A"]);
    const using = items.filter((pod) => imagesOf(pod).some((used) => used.startsWith(name)));
    const old = using.find((pod) => !imagesOf(pod).includes(image));
    if (old) return `Pod ${old.metadata.namespace}/${old.metadata.name} runs another version still`;
    count = using.length;
    if (count === 0) return "no pod runs it";
    return using.map(podTrouble).find((trouble) => trouble !== undefined);
  };
  await until(`image ${image}`, seconds, probe, kubectlCommand("get", "pods", "-A"));
  return count;
}

const imagesOf = ({ spec }: Pod): string[] => (spec?.containers ?? []).map(({ image }) => image);

/** The full hash of a revision in a checkout. */
export async function resolveCommit(checkout: string, revision: string): Promise<string> {
  if (/^[0-9a-f]{40}$/.test(revision)) return revision;
  const commit = await new Git(checkout).resolve(revision);
  if (commit === undefined)
    throw new Failure(`no commit named ${revision} in this checkout`, "git log --oneline -5");
  return commit;
}
