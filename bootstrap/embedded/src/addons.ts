/** Applies what the cluster needs before Argo CD: DNS, storage, and the Git server that Argo CD reads from. */
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { progress } from "../../../lib/progress.ts";
import { apply, kubectl, secretObject, waitForWorkloads } from "../../src/kubectl.ts";
import { credentials } from "./credentials.ts";
import { images } from "./images.ts";
import { repository, state } from "./layout.ts";

/** Renders a kustomization of the repository with the pinned image tags. */
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

/** Starts the Git server with its users. */
export async function startGitServer(): Promise<void> {
  const { platform, argocd, webhook } = credentials();
  progress("applying git-server");
  const manifests = await render("bootstrap/embedded/manifests/git-server");
  await apply(JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: "git" } }));
  await apply(
    secretObject(
      { namespace: "git", name: "git-server" },
      { users: `platform:${platform}\nargocd:${argocd}\n`, "webhook-secret": webhook },
    ),
  );
  await apply(manifests);
  await waitForWorkloads("git", ["statefulset/git-server"], 180);
}

/** Applies the Secrets with which Argo CD reads the repository, verifies webhooks and signs in the user `viewer`. */
export async function applyArgocdSecrets(repositoryURL: string): Promise<void> {
  const { argocd, webhook, viewer, viewerHash } = credentials();
  await apply(
    secretObject(
      {
        namespace: "argocd",
        name: "platform-repository",
        labels: { "argocd.argoproj.io/secret-type": "repository" },
      },
      { type: "git", url: repositoryURL, username: "argocd", password: argocd },
    ),
  );
  // Argo CD's own manifests contain this Secret without data. With one field manager, each apply would undo the other.
  const data = { "webhook.github.secret": webhook, "accounts.viewer.password": viewerHash };
  await apply(secretObject({ namespace: "argocd", name: "argocd-secret" }, data), "deploy-secrets");
  await apply(secretObject({ namespace: "argocd", name: "argocd-viewer" }, { password: viewer }));
}

/**
 * Applies the password that the proxy in front of Alertmanager asks for, and the line with its user that nginx reads. A plain
 * hash of such a long random password gives nothing away, and each run makes the same one.
 */
export async function applyMonitoringSecrets(): Promise<void> {
  const { silences } = credentials();
  // Argo CD adds the namespace's labels when it applies `monitoring-stack`.
  await apply(JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: "monitoring" } }));
  const users = `admin:{SHA}${createHash("sha1").update(silences).digest("base64")}\n`;
  await apply(
    secretObject({ namespace: "monitoring", name: "alertmanager-door" }, { password: silences, users }),
  );
}
