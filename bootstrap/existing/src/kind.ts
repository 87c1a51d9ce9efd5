/** A kind cluster with a local registry, as described in https://kind.sigs.k8s.io/docs/user/local-registry/. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Failure } from "../../../lib/failure.ts";
import { sourceTag, unpackCommitted } from "../../../lib/git/source-tag.ts";
import { ensureImage } from "../../../lib/images/build.ts";
import { imagesIn, parseImage } from "../../../lib/images/names.ts";
import { run, succeeds } from "../../../lib/process.ts";
import { progress } from "../../../lib/progress.ts";
import { childrenOf } from "../../../lib/render/start.ts";
import { checkout, serviceNames } from "../../../lib/repository.ts";
import { kubectl } from "../../src/kubectl.ts";
import { pinned, type Target } from "./target.ts";

/** The name of the cluster. Its context has the prefix `kind-`. */
export const clusterName = "logging-platform";

/** The registry's address, as this machine and the nodes use it, and the name of its container. */
export const registry = { address: "localhost:5001", container: "logging-platform-registry" };

/** Creates the cluster and its registry, or completes what an earlier run did not finish. */
export async function ensureKind(): Promise<void> {
  const clusters = (await run("kind", ["get", "clusters"])).split("\n");
  if (!clusters.includes(clusterName)) {
    progress("kind create cluster");
    await run("kind", [
      "create",
      "cluster",
      "--name",
      clusterName,
      "--config",
      join(checkout, "bootstrap/existing/kind.yaml"),
      "--wait",
      "180s",
    ]);
  }
  await ensureRegistry();
  const nodes = (await run("kind", ["get", "nodes", "--name", clusterName])).split("\n").filter(Boolean);
  const directory = `/etc/containerd/certs.d/${registry.address}`;
  // On a node, localhost is the node itself, so its container runtime is told where the registry is.
  const hosts = `[host."http://${registry.container}:5000"]\n`;
  for (const node of nodes) {
    await run("docker", ["exec", node, "mkdir", "-p", directory]);
    await run("docker", ["exec", "-i", node, "cp", "/dev/stdin", `${directory}/hosts.toml`], {
      input: hosts,
    });
  }
  await kubectl(["apply", "--server-side", "--field-manager=deploy", "-f", "-"], hosting());
}

async function ensureRegistry(): Promise<void> {
  const name = registry.container;
  const state = await inspect("{{.State.Running}}");
  if (state === undefined) {
    progress("starting the registry");
    const port = registry.address.split(":")[1];
    await run("docker", [
      "run",
      "--detach",
      "--restart=always",
      "--publish",
      `127.0.0.1:${port}:5000`,
      "--name",
      name,
      `docker.io/library/registry:${pinned("registry")}`,
    ]);
  } else if (state !== "true") {
    await run("docker", ["start", name]);
  }
  const networks = await inspect("{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}");
  if (!networks?.split(" ").includes("kind")) await run("docker", ["network", "connect", "kind", name]);
}

async function inspect(format: string): Promise<string | undefined> {
  const args = ["inspect", "--format", format, registry.container];
  return (await succeeds("docker", args)) ? (await run("docker", args)).trim() : undefined;
}

// Tools that push images look for the registry in this ConfigMap: KEP-1755.
function hosting(): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "local-registry-hosting", namespace: "kube-public" },
    data: {
      "localRegistryHosting.v1": `host: "${registry.address}"\nhelp: "https://kind.sigs.k8s.io/docs/user/local-registry/"\n`,
    },
  });
}

/**
 * Builds the images of services that Git names, and pushes them to the cluster's registry.
 * @throws Failure if Git names an image that was built from other sources than those committed here
 */
export async function pushImages({ cluster, overrides }: Target): Promise<void> {
  const { applications, repository } = await childrenOf(checkout, cluster);
  const services = serviceNames(repository);
  const images = new Set(
    applications.flatMap(({ manifests }) => manifests.flatMap(({ object }) => imagesIn(object))),
  );
  for (const image of images) {
    const { name, tag = "" } = parseImage(image);
    const service = name.slice(name.lastIndexOf("/") + 1);
    if (!services.includes(service)) continue;
    const sources = await sourceTag(checkout, `services/${service}`);
    if (tag !== sources) {
      throw new Failure(
        `Git names ${image}, but the sources here are services/${service} at ${sources}: it cannot be built`,
        `npm run release -- ${service} --registry http://${registry.address}`,
      );
    }
    const context = mkdtempSync(join(tmpdir(), `${service}-`));
    try {
      await unpackCommitted(checkout, `services/${service}`, context);
      const own = { mirror: undefined, insecure: true };
      await ensureImage(`${overrides.registry}/${service}:${tag}`, context, own, `services/${service}`);
    } finally {
      rmSync(context, { recursive: true, force: true });
    }
  }
}

/** Removes the cluster and its registry, with everything in them. */
export async function destroyKind(): Promise<void> {
  await run("kind", ["delete", "cluster", "--name", clusterName]);
  if ((await inspect("{{.Name}}")) !== undefined)
    await run("docker", ["rm", "--force", "--volumes", registry.container]);
}
