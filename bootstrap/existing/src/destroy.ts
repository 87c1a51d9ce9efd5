/** Removes the platform from an existing cluster: what deploy.sh made, in reverse order, and nothing else. */
import { execa } from "execa";
import { contextArguments, kubectlCommand } from "../../../lib/cluster/kubectl.ts";
import { Failure } from "../../../lib/failure.ts";
import { run } from "../../../lib/process.ts";
import { progress } from "../../../lib/progress.ts";
import { renderInstall } from "../../../lib/render/start.ts";
import { checkout } from "../../../lib/repository.ts";
import { deadline, find, kubectl } from "../../src/kubectl.ts";
import { ownership } from "../../src/stages.ts";
import { findIstioctl } from "./istioctl.ts";
import type { Target } from "./target.ts";

const finalizers = JSON.stringify({
  metadata: { finalizers: ["resources-finalizer.argocd.argoproj.io"] },
});

const clusterWide =
  "validatingadmissionpolicybindings,validatingadmissionpolicies,clusterrolebindings,clusterroles";

interface Labelled {
  metadata: { labels?: Record<string, string> };
}

const hasLabel = (object: Labelled | undefined, label: string): boolean => {
  const [key = "", value] = label.split("=");
  return object?.metadata.labels?.[key] === value;
};

/** Removes the Applications first, while the controller that prunes them still runs, then Argo CD, then Istio. */
export async function destroy(target: Target): Promise<void> {
  await removeApplications();
  if (hasLabel(await find<Labelled>(["namespace", "argocd"]), "app.kubernetes.io/part-of=argocd")) {
    progress("removing Argo CD");
    const text = await renderInstall(checkout, target.cluster, target.overrides.ha === true);
    await kubectl(["delete", "--ignore-not-found", `--timeout=${deadline(300)}`, "-f", "-"], text);
    // These objects came with the root Application and are cluster-wide.
    await kubectl(["delete", clusterWide, "-l", "app.kubernetes.io/part-of=platform", "--ignore-not-found"]);
  }
  if (target.keepIstio) return;
  // An Istio that somebody else installed does not have this label.
  if (!hasLabel(await find<Labelled>(["namespace", "istio-system"]), ownership)) return;
  progress("removing Istio");
  await run(await findIstioctl(), ["uninstall", ...contextArguments(), "--purge", "--skip-confirmation"]);
  await kubectl(["delete", "namespace", "istio-system", "--ignore-not-found", `--timeout=${deadline(300)}`]);
}

async function removeApplications(): Promise<void> {
  const root = ["application", "root", "-n", "argocd"];
  if (!(await find(root))) return;
  // Without the finalizer, everything would keep running. With it, Argo CD deletes the objects that it made.
  await kubectl(["-n", "argocd", "patch", "application", "root", "--type", "merge", "-p", finalizers]);
  progress("deleting the Applications");
  try {
    await kubectl(["-n", "argocd", "delete", "application", "root", "--wait", `--timeout=${deadline(600)}`]);
  } catch (error) {
    const left = await execa(
      "kubectl",
      [...contextArguments(), "-n", "argocd", "get", "applications", "-o", "name"],
      { reject: false },
    );
    const names = left.stdout.trim().split("\n").filter(Boolean).join(", ");
    throw new Failure(
      `the Applications still exist: ${names || (error as Error).message}`,
      kubectlCommand("-n", "argocd", "describe", "applications"),
    );
  }
}

/** What `destroy` would do, one line for each thing. */
export async function remains(target: Target): Promise<string[]> {
  const [root, argocd, istio] = await Promise.all([
    find(["application", "root", "-n", "argocd"]),
    find<Labelled>(["namespace", "argocd"]),
    find<Labelled>(["namespace", "istio-system"]),
  ]);
  const mesh = target.keepIstio
    ? "leave Istio unchanged"
    : hasLabel(istio, ownership)
      ? "remove Istio and the namespace istio-system"
      : istio
        ? "leave Istio unchanged: deploy.sh did not install it"
        : undefined;
  return [
    ...(root ? ["delete the Application root, and with it every Application and all their objects"] : []),
    ...(hasLabel(argocd, "app.kubernetes.io/part-of=argocd")
      ? ["remove Argo CD and the namespace argocd"]
      : []),
    ...(mesh ? [mesh] : []),
  ];
}
