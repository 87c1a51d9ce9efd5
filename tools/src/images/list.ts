/** Lists every image that a cluster runs, and every image that an overlay would run. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { layoutAt } from "../../../lib/configuration.ts";
import { imagesIn } from "../../../lib/images/names.ts";
import { istio, istioTag, pinnedVersion } from "../../../lib/modules.ts";
import type { KubernetesObject } from "../../../lib/object.ts";
import type { Cache } from "../../../lib/render/cache.ts";
import { bootstrap, renderCluster } from "../../../lib/render/cluster.ts";
import { renderObjects } from "../../../lib/render/kustomize.ts";
import { overlaysIn } from "../../../lib/render/overlays.ts";
import { withLocalRemotes } from "../../../lib/render/remote.ts";
import { pinnedVersions, type Repository } from "../../../lib/repository.ts";

/** An image, and where it is used. */
export interface UsedImage {
  image: string;
  /** `embedded: Application logging`, `overlay gitops/apps/logging/overlays/local`. */
  by: string[];
}

export interface ImageList {
  images: UsedImage[];
  /** What could not be examined here, such as charts in remote repositories. */
  skipped: string[];
}

/**
 * Lists the images of clusters: those that deploy.sh applies, those of Istio and those of every Application.
 * @param clusters names of clusters of the layout
 */
export async function clusterImages(
  root: string,
  repository: Repository,
  clusters: string[],
  cache: Cache,
): Promise<ImageList> {
  const list = new Listing();
  for (const cluster of clusters) {
    for (const { name, manifests, error, skipped } of await renderCluster(root, repository, cluster, cache)) {
      if (error) throw new Error(`Application ${name} does not render: ${error}`);
      const by = `${cluster}: ${name === bootstrap ? "deploy.sh" : `Application ${name}`}`;
      list.add(
        manifests.map(({ object }) => object),
        by,
      );
      if (skipped) list.skipped.push(`${by}: ${skipped}`);
    }
    for (const image of istioImages(root, cluster)) list.name(image, `${cluster}: Istio`);
  }
  return list.result();
}

/** Lists the images of every overlay, whether a cluster uses it or not. */
export async function overlayImages(root: string, repository: Repository): Promise<ImageList> {
  const list = new Listing();
  for (const directory of overlaysIn(repository)) {
    const objects = await withLocalRemotes(root, directory, (_, place) => renderObjects(place));
    list.add(objects, `overlay ${directory}`);
  }
  return list.result();
}

// `istioctl install` runs these images. Their registry is compiled into istioctl.
function istioImages(root: string, cluster: string): string[] {
  // A cluster that has its own file there uses an Istio that is built from the pinned module.
  const built = existsSync(join(root, layoutAt(root).istio, `${cluster}.yaml`));
  const tag = built ? istioTag(pinnedVersion(root, istio)) : pinnedVersions(root).istio;
  return ["install-cni", "pilot", "proxyv2"].map((name) => `docker.io/istio/${name}:${tag}`);
}

class Listing {
  readonly skipped: string[] = [];
  readonly #users = new Map<string, Set<string>>();

  add(objects: KubernetesObject[], by: string): void {
    for (const image of objects.flatMap(imagesIn)) this.name(image, by);
  }

  name(image: string, by: string): void {
    // This is a placeholder in sidecars and gateways, which injection replaces.
    if (image === "auto") return;
    const users = this.#users.get(image) ?? new Set();
    this.#users.set(image, users.add(by));
  }

  result(): ImageList {
    const images = [...this.#users].map(([image, by]) => ({ image, by: [...by].sort() }));
    return { images: images.sort((a, b) => a.image.localeCompare(b.image)), skipped: this.skipped };
  }
}
