/** What the cluster needs before Argo CD: names, storage, and the Git server that Argo CD reads. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { type Pod, podTrouble } from "../../../lib/cluster/pods.ts";
import { until } from "../../../lib/failure.ts";
import { progress } from "../../../lib/progress.ts";
import { kubectl, kubectlHint } from "./controlplane.ts";
import { images } from "./images.ts";
import { repository, state } from "./layout.ts";

export interface Credentials {
  /** Password of the Git user `platform`, who may push. */
  platform: string;
  /** Password of the Git user `argocd`, who may only read. */
  argocd: string;
  /** Secret that signs the Git server's webhook calls. */
  webhook: string;
}

/** Random credentials, made once and kept in the state directory. */
export function credentials(): Credentials {
  const path = state("secrets", "credentials.json");
  if (!existsSync(path)) {
    mkdirSync(state("secrets"), { recursive: true, mode: 0o700 });
    const random = (): string => randomBytes(24).toString("hex");
    writeFileSync(path, JSON.stringify({ platform: random(), argocd: random(), webhook: random() }), {
      mode: 0o600,
    });
  }
  return JSON.parse(readFileSync(path, "utf8")) as Credentials;
}

/**
 * Applies objects given as YAML or JSON, taking over fields that others set.
 * @param manager owns the fields; what it applied before to the same object and leaves out now is removed
 */
export async function apply(text: string, manager = "deploy"): Promise<void> {
  await kubectl(
    ["apply", "--server-side", "--force-conflicts", `--field-manager=${manager}`, "-f", "-"],
    text,
  );
}

/** Renders a kustomization of the repository with the pinned image tags laid over it. */
export async function render(directory: string): Promise<string> {
  const overlay = state("render", directory.replaceAll("/", "-"));
  mkdirSync(overlay, { recursive: true });
  const tags = await Promise.all(
    images.map(async (image) => ({ name: image.name, newTag: await image.tag() })),
  );
  const kustomization = { resources: [relative(overlay, join(repository, directory))], images: tags };
  writeFileSync(join(overlay, "kustomization.yaml"), JSON.stringify(kustomization));
  return kubectl(["kustomize", overlay]);
}

/** Applies one of the cluster's own kustomizations. */
export async function applyAddon(name: string): Promise<void> {
  progress(`applying ${name}`);
  await apply(await render(`bootstrap/embedded/manifests/${name}`));
}

interface Workload {
  spec: { replicas?: number; selector: { matchLabels: Record<string, string> } };
  metadata: { generation: number };
  status: Record<string, number | undefined>;
}

/** Waits until all replicas of a Deployment, StatefulSet or DaemonSet are ready at its present generation. */
export async function waitForWorkload(
  namespace: string,
  kind: string,
  name: string,
  seconds = 180,
): Promise<void> {
  const object = `${kind}/${name}`;
  progress(`waiting for ${object}`);
  await until(
    `${kind} ${namespace}/${name}`,
    seconds,
    async () => {
      const workload = JSON.parse(await kubectl(["-n", namespace, "get", object, "-o", "json"])) as Workload;
      const want = workload.status.desiredNumberScheduled ?? workload.spec.replicas ?? 1;
      const ready = workload.status.readyReplicas ?? workload.status.numberReady ?? 0;
      const updated = workload.status.updatedReplicas ?? workload.status.updatedNumberScheduled ?? 0;
      if (
        (workload.status.observedGeneration ?? 0) >= workload.metadata.generation &&
        ready >= want &&
        updated >= want
      )
        return undefined;
      const labels = Object.entries(workload.spec.selector.matchLabels).map((pair) => pair.join("="));
      const pods = JSON.parse(
        await kubectl(["-n", namespace, "get", "pods", "-l", labels.join(), "-o", "json"]),
      ) as { items: Pod[] };
      const trouble = pods.items.map(podTrouble).find((t) => t !== undefined);
      return `${ready}/${want} ready${trouble ? `; ${trouble}` : ""}`;
    },
    [
      kubectlHint("-n", namespace, "describe", object),
      kubectlHint("-n", namespace, "logs", object, "--all-containers", "--tail=20"),
    ].join("; "),
  );
}

const secret = (
  namespace: string,
  name: string,
  data: Record<string, string>,
  labels: Record<string, string> = {},
): string =>
  JSON.stringify({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name, namespace, labels },
    // Not stringData: the server-side apply of that field is not idempotent.
    data: Object.fromEntries(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString("base64")]),
    ),
  });

/** Starts the Git server with its users. */
export async function startGitServer(): Promise<void> {
  const { platform, argocd, webhook } = credentials();
  progress("applying git-server");
  const manifests = await render("bootstrap/embedded/manifests/git-server");
  await apply(JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: "git" } }));
  await apply(
    secret("git", "git-server", {
      users: `platform:${platform}\nargocd:${argocd}\n`,
      "webhook-secret": webhook,
    }),
  );
  await apply(manifests);
  await waitForWorkload("git", "statefulset", "git-server");
}

/** The Secrets that Argo CD reads the repository and checks webhooks with. */
export async function applyArgocdSecrets(repositoryURL: string): Promise<void> {
  const { argocd, webhook } = credentials();
  await apply(
    secret(
      "argocd",
      "platform-repository",
      { type: "git", url: repositoryURL, username: "argocd", password: argocd },
      { "argocd.argoproj.io/secret-type": "repository" },
    ),
  );
  // Argo CD's own manifests hold this Secret without data: as the same manager, each apply would undo the other.
  await apply(secret("argocd", "argocd-secret", { "webhook.github.secret": webhook }), "deploy-secrets");
}
