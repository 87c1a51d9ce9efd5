/** What the cluster needs before Argo CD: names, storage, and the Git server that Argo CD reads. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { progress } from "../../../lib/progress.ts";
import { apply, kubectl, secretObject, waitForWorkloads } from "../../src/kubectl.ts";
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

/** The Secrets that Argo CD reads the repository and checks webhooks with. */
export async function applyArgocdSecrets(repositoryURL: string): Promise<void> {
  const { argocd, webhook } = credentials();
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
  // Argo CD's own manifests hold this Secret without data: as the same manager, each apply would undo the other.
  await apply(
    secretObject({ namespace: "argocd", name: "argocd-secret" }, { "webhook.github.secret": webhook }),
    "deploy-secrets",
  );
}
