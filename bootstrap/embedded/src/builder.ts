/** Lets a shell build images as bootstrap does: it gives buildah's settings as files and variables. */
import { mkdirSync } from "node:fs";
import { writeIfChanged } from "./files.ts";
import { buildMounts } from "./images.ts";
import { cache, mirroredRegistries, pushAddress, registryAddress, state } from "./layout.ts";
import { loginFile } from "./registry.ts";

const path = (name: string): string => state("builder", name);

/** Writes the files that `builderEnvironment` names. */
export function writeBuilderSettings(): void {
  mkdirSync(state("builder"), { recursive: true });
  const text = JSON.stringify;
  writeIfChanged(
    path("storage.conf"),
    `[storage]
driver = "overlay"
graphroot = ${text(cache("containers", "storage"))}
runroot = ${text(cache("containers", "run"))}
`,
  );
  writeIfChanged(
    path("registries.conf"),
    mirroredRegistries
      .map(
        (name) => `[[registry]]
prefix = ${text(name)}
location = ${text(`${registryAddress}/${name}`)}
insecure = true
`,
      )
      .join("\n"),
  );
  writeIfChanged(path("containers.conf"), `[containers]\nvolumes = ${text(buildMounts())}\n`);
}

/** The variables with which `npm run release` builds for this cluster and pushes to its mirror. */
export const builderEnvironment = (): Record<string, string> => ({
  REGISTRY: `http://${pushAddress}`,
  REGISTRY_AUTH_FILE: loginFile(),
  IMAGE_BUILDER: "buildah",
  BUILDAH_ISOLATION: "chroot",
  // A release then builds, pushes and pulls only the layers that have changed.
  BUILDAH_LAYERS: "true",
  CONTAINERS_STORAGE_CONF: path("storage.conf"),
  CONTAINERS_REGISTRIES_CONF: path("registries.conf"),
  CONTAINERS_CONF: path("containers.conf"),
});
