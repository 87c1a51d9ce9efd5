import { beforeAll, describe, expect, test } from "vitest";
import { imagesIn } from "../images/names.ts";
import { type KubernetesObject, parseObjects } from "../object.ts";
import { type ApplicationSource, renderSource, sourcesOf } from "../render/application.ts";
import { overrideRoot } from "../render/overrides.ts";
import { readSource } from "../render/source.ts";
import { childrenOf, renderInstall, renderRoot } from "../render/start.ts";
import { checkout } from "../repository.ts";
import { slow } from "./long.ts";

// The root Application carries the overrides; what is looked at is what Argo CD makes of it.
const cold = 900_000;
const git = readSource(checkout, "upstream");
const fork = { repository: "https://git.example/fork.git", revision: "v2" };

// Rendering takes seconds and gives the same each time.
const known = new Map<string, Promise<string>>();
async function once(key: string, render: () => Promise<string>): Promise<KubernetesObject[]> {
  const text = known.get(key) ?? render();
  known.set(key, text);
  return parseObjects(await text);
}
const root = (overrides: Parameters<typeof renderRoot>[2]): Promise<KubernetesObject[]> =>
  once(JSON.stringify(overrides), () => renderRoot(checkout, "upstream", overrides));
const install = (cluster: string, ha = false): Promise<KubernetesObject[]> =>
  once(`${cluster} ${ha}`, () => renderInstall(checkout, cluster, ha));
const rootApplication = (objects: KubernetesObject[]): KubernetesObject => {
  const found = objects.find(({ kind }) => kind === "Application");
  if (!found) throw new Error("there is no root");
  return found;
};
const render = async (application: KubernetesObject): Promise<KubernetesObject[]> => {
  const { manifests, error } = await renderSource(
    checkout,
    application.spec.source as ApplicationSource,
    application,
  );
  expect(error).toBeUndefined();
  return manifests.map(({ object }) => object);
};
const childrenUnder = async (overrides: Parameters<typeof renderRoot>[2]): Promise<KubernetesObject[]> =>
  render(rootApplication(await root(overrides)));
const child = (applications: KubernetesObject[], name: string): KubernetesObject => {
  const found = applications.find(({ metadata }) => metadata.name === name);
  if (!found) throw new Error(`there is no Application ${name}`);
  return found;
};

beforeAll(async () => {
  await childrenOf(checkout, "upstream");
}, cold);

describe("a repository and a revision", () => {
  test("reach the root, every Application and every project, and nothing else changes", async () => {
    const objects = await root(fork);
    expect(rootApplication(objects).spec.source).toMatchObject({
      repoURL: fork.repository,
      targetRevision: fork.revision,
      path: "gitops/clusters/upstream",
    });
    const applications = await childrenUnder(fork);
    const sources = applications.flatMap(sourcesOf);
    expect(sources.filter(({ chart }) => !chart).length).toBeGreaterThan(4);
    for (const { chart, repoURL, targetRevision } of sources) {
      if (chart) expect(repoURL).toBe("https://prometheus-community.github.io/helm-charts");
      else expect({ repoURL, targetRevision }).toEqual({ repoURL: fork.repository, targetRevision: "v2" });
    }
    expect(JSON.stringify([...objects, ...applications])).not.toContain(git.repository);
    const before = await childrenUnder({});
    const restored = JSON.parse(
      JSON.stringify(applications)
        .replaceAll(fork.repository, git.repository)
        .replaceAll('"v2"', `"${git.branch}"`),
    );
    expect(restored).toEqual(before);
  });

  test("reach an Application that a later commit adds", async () => {
    const [patch] = rootApplication(await root(fork)).spec.source.kustomize.patches;
    expect(patch.target).toEqual({
      kind: "Application",
      labelSelector: "app.kubernetes.io/component!=chart",
    });
  });

  test("of which one is Git's change the other alone", async () => {
    const applications = await childrenUnder({ revision: "v2" });
    expect(child(applications, "logging").spec.source).toMatchObject({
      repoURL: git.repository,
      targetRevision: "v2",
    });
  });
});

test("what equals Git patches nothing", async () => {
  const same = { repository: git.repository, revision: git.branch, registry: "docker.io/logging-platform" };
  expect(await root({ ...same, ha: false })).toEqual(await root({}));
  expect(rootApplication(await root(same)).spec.source).not.toHaveProperty("kustomize");
});

test("a registry changes the images of services, keeps their tags, and leaves the others", slow, async () => {
  const [now, then] = await Promise.all(
    [{}, { registry: "localhost:5001/mine" }].map(async (overrides) =>
      (await render(child(await childrenUnder(overrides), "logging"))).flatMap(imagesIn),
    ),
  );
  expect(now?.length).toBeGreaterThan(1);
  expect(then).toEqual(
    now?.map((image) => image.replace("docker.io/logging-platform/", "localhost:5001/mine/")),
  );
  expect(then).not.toEqual(now);
});

test("a tag that an overlay sets under the image's own name survives another registry", slow, async () => {
  const { repository, applications } = await childrenOf(checkout, "upstream");
  const file = "gitops/apps/logging/overlays/local/kustomization.yaml";
  const files = new Map(repository).set(
    file,
    "images:\n  - name: docker.io/logging-platform/app\n    newTag: abc\n",
  );
  const objects = overrideRoot(await root({}), applications, files, git, {
    registry: "r.example/x",
  });
  const patch = JSON.parse(rootApplication(objects).spec.source.kustomize.patches[0].patch);
  expect(patch[0].value.images).toEqual([
    "docker.io/logging-platform/app=r.example/x/app:*",
    "docker.io/logging-platform/log-archiver=r.example/x/log-archiver",
  ]);
});

describe("an Argo CD that outlives a node", slow, () => {
  test("is installed first and then read from Git, from one directory", async () => {
    const application = child(await childrenUnder({ ha: true }), "argocd");
    const installed = await install("upstream", true);
    const name = ({ kind, metadata }: KubernetesObject): string => `${kind} ${metadata.name}`;
    expect((await render(application)).map(name).sort()).toEqual(installed.map(name).sort());
    expect(installed.map(name)).toContain("StatefulSet argocd-redis-ha-server");
    expect(installed.map(name)).not.toContain("Deployment argocd-redis");
  });

  test("is allowed by its project, container for container with requests and limits", async () => {
    const project = (await root({ ha: true })).find(
      ({ kind, metadata }) => kind === "AppProject" && metadata.name === "argocd",
    );
    const { clusterResourceWhitelist = [], namespaceResourceWhitelist = [] } = project?.spec ?? {};
    const allowed = [...clusterResourceWhitelist, ...namespaceResourceWhitelist];
    const installed = await install("upstream", true);
    for (const { apiVersion, kind } of installed) {
      const group = apiVersion.includes("/") ? apiVersion.split("/")[0] : "";
      expect(allowed).toContainEqual(expect.objectContaining({ group, kind }));
    }
    const containers = installed.flatMap(({ spec }) => [
      ...(spec?.template?.spec?.initContainers ?? []),
      ...(spec?.template?.spec?.containers ?? []),
    ]);
    expect(containers.length).toBeGreaterThan(10);
    for (const container of containers) {
      expect(container).toMatchObject({
        resources: { requests: expect.anything(), limits: expect.anything() },
      });
    }
  });

  test("is refused where Argo CD does not manage itself", async () => {
    await expect(renderRoot(checkout, "embedded", { ha: true })).rejects.toThrow(/no Application argocd/);
    await expect(renderInstall(checkout, "embedded", true)).rejects.toThrow(/one form only/);
  });
});

test(
  "the embedded cluster and another start from the same Argo CD, but for how it is reached",
  slow,
  async () => {
    const [embedded, upstream] = await Promise.all(
      ["embedded", "upstream"].map((cluster) => install(cluster)),
    );
    const kinds = (objects: KubernetesObject[] = []): string[] =>
      objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort();
    expect(kinds(embedded).filter((name) => name !== "Service argocd-server-node-port")).toEqual(
      kinds(upstream),
    );
    expect(new Set(upstream?.flatMap(imagesIn))).toEqual(
      new Set([
        expect.stringMatching(/^quay\.io\/argoproj\/argocd:v\d/),
        expect.stringMatching(/^public\.ecr\.aws\/docker\/library\/redis:\d/),
      ]),
    );
  },
);
