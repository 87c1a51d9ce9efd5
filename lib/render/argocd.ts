import { existsSync } from "node:fs";
import { join } from "node:path";
import { dump } from "js-yaml";
import { layoutAt, placeOf } from "../configuration.ts";
import { pinnedVersions } from "../repository.ts";
import { renderYaml } from "./kustomize.ts";
import { kustomizationOf } from "./references.ts";
import { withLocalRemotes } from "./remote.ts";

/**
 * Renders Argo CD itself from `bootstrap/argocd/install/NAME`: its definitions, and everything it runs on.
 * The upstream manifests are those of the pinned module; `../versions` holds the images that `versions.yaml` pins.
 */
export async function renderArgocd(checkout: string, cluster: string): Promise<string> {
  const install = installDirectory(checkout, cluster);
  if (!existsSync(join(checkout, install))) throw new Error(`there is no directory ${install}`);
  const versions = kustomizationOf(installDirectory(checkout, "versions"));
  const additions = { [versions]: dump(mirroredImages(checkout)) };
  return withLocalRemotes(checkout, install, (_, directory) => renderYaml(directory), additions);
}

/** The kustomization of an Argo CD that does not manage itself, from the root of the checkout. */
export const installDirectory = (checkout: string, cluster: string): string =>
  placeOf(layoutAt(checkout).install, cluster);

// The mirror's Redis is Debian's, under the name and tag scheme of Docker Hub.
function mirroredImages(checkout: string): object {
  const { redis, debian } = pinnedVersions(checkout);
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
