import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dump, load } from "js-yaml";
import { argocd, moduleSource } from "./go.ts";
import { renderYaml } from "./kustomize.ts";

/** Renders Argo CD itself for a cluster: its definitions first, then everything it runs on. */
export async function renderArgocd(checkout: string, cluster: string): Promise<string> {
  const stage = mkdtempSync(join(tmpdir(), "argocd-"));
  try {
    return await renderYaml(await stageArgocd(checkout, stage, cluster));
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

/** Renders what Argo CD starts from on a cluster: the AppProjects and the root Application. */
export async function renderRoot(checkout: string, cluster: string): Promise<string> {
  return renderYaml(join(checkout, "bootstrap/argocd/root", cluster));
}

/**
 * Puts together what kustomize needs to render Argo CD: `bootstrap/argocd/install`, beside it as `upstream` the
 * manifests of the pinned Argo CD module, and as `versions` the images that `versions.yaml` pins.
 * @returns the directory to render
 */
export async function stageArgocd(checkout: string, stage: string, cluster: string): Promise<string> {
  const install = join(checkout, "bootstrap/argocd/install");
  if (!existsSync(join(install, cluster)))
    throw new Error(`bootstrap/argocd/install has no cluster named ${cluster}`);
  cpSync(install, stage, { recursive: true });
  symlinkSync(join(await moduleSource(checkout, argocd), "manifests"), join(stage, "upstream"));
  mkdirSync(join(stage, "versions"));
  writeFileSync(join(stage, "versions/kustomization.yaml"), dump(mirroredImages(checkout)));
  return join(stage, cluster);
}

// The mirror's Redis is Debian's, under the name and tag scheme of Docker Hub.
function mirroredImages(checkout: string): object {
  const { redis, debian } = load(readFileSync(join(checkout, "versions.yaml"), "utf8")) as Record<
    string,
    string
  >;
  return {
    apiVersion: "kustomize.config.k8s.io/v1alpha1",
    kind: "Component",
    images: [
      {
        name: "public.ecr.aws/docker/library/redis",
        newName: "docker.io/library/redis",
        newTag: `${redis}-${debian}`,
      },
    ],
  };
}
