import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { formatImage, imagesIn, parseImage } from "../../lib/images/names.ts";
import { manifestURL, parseChallenge, resolveDigest } from "../../lib/images/registry.ts";
import { Cache } from "../../lib/render/cache.ts";
import { cacheDirectory, checkout, readRepository } from "../../lib/repository.ts";
import { slow } from "../../lib/test/long.ts";
import { printed } from "../src/cli/images.ts";
import { clusterImages, type ImageList, overlayImages } from "../src/images/list.ts";

const sum = `sha256:${"a".repeat(64)}`;

describe("an image's name", () => {
  it.each([
    ["docker.io/library/redis:7", { name: "docker.io/library/redis", tag: "7" }],
    ["localhost:5001/a/app", { name: "localhost:5001/a/app" }],
    ["localhost:5001/a/app:1", { name: "localhost:5001/a/app", tag: "1" }],
    [`quay.io/a/b:1@${sum}`, { name: "quay.io/a/b", tag: "1", digest: sum }],
    [`quay.io/a/b@${sum}`, { name: "quay.io/a/b", digest: sum }],
  ])("%s is taken apart and put together", (text, parts) => {
    expect(parseImage(text)).toEqual(parts);
    expect(formatImage(parts)).toBe(text);
  });

  it("is found in every kind of container, in operators' resources and in flags", () => {
    const object = {
      apiVersion: "batch/v1",
      kind: "CronJob",
      metadata: { name: "x" },
      spec: {
        jobTemplate: {
          spec: {
            template: {
              spec: {
                initContainers: [{ image: "r.io/first:1" }],
                containers: [
                  { image: "r.io/main:1", args: ["--reloader=quay.io/a/reloader:v1", "--url=http://x/y:1"] },
                ],
              },
            },
          },
        },
      },
    };
    expect(imagesIn(object)).toEqual(["r.io/first:1", "r.io/main:1", "quay.io/a/reloader:v1"]);
    const prometheus = {
      ...object,
      apiVersion: "monitoring.coreos.com/v1",
      kind: "Prometheus",
      spec: { image: "r.io/p:1" },
    };
    expect(imagesIn(prometheus)).toEqual(["r.io/p:1"]);
    expect(imagesIn({ ...object, kind: "CustomResourceDefinition" })).toEqual([]);
  });
});

describe("the list", () => {
  const list = async (...clusters: string[]): Promise<ImageList> =>
    clusterImages(checkout, await readRepository(checkout), clusters, new Cache(cacheDirectory));

  it("of an existing cluster has Argo CD's, Istio's and the apps', each with a registry and a version", async () => {
    const { images, skipped } = await list("upstream");
    const names = images.map(({ image }) => parseImage(image).name);
    for (const name of [
      "docker.io/istio/pilot",
      "docker.io/istio/proxyv2",
      "docker.io/istio/install-cni",
      "docker.io/logging-platform/app",
      "docker.io/logging-platform/log-archiver",
      "docker.io/otel/opentelemetry-collector-contrib",
      "public.ecr.aws/docker/library/redis",
      "quay.io/argoproj/argocd",
    ])
      expect(names).toContain(name);
    for (const { image } of images) expect(image).toMatch(/^[\w-]+(\.[\w-]+)+\/[^:]+:[\w.-]+$/);
    const chart = "upstream: Application monitoring-stack: Helm chart kube-prometheus-stack";
    if (!process.env.HELM_CHARTS) expect(skipped).toEqual([expect.stringContaining(chart)]);
  });

  it("of the embedded cluster has what its own manifests run", slow, async () => {
    const { images, skipped } = await list("embedded");
    const names = images.map(({ image }) => parseImage(image).name);
    for (const name of [
      "quay.io/prometheus/prometheus",
      "quay.io/prometheus-operator/prometheus-config-reloader",
    ])
      expect(names).toContain(name);
    expect(skipped).toEqual([]);
    const argocd = images.find(({ image }) => image.startsWith("quay.io/argoproj/argocd:"));
    expect(argocd?.by).toEqual(["embedded: deploy.sh"]);
  });

  it("of overlays has those that no cluster uses", slow, async () => {
    const { images } = await overlayImages(checkout, await readRepository(checkout));
    const proxy = images.find(({ image }) => image.includes("/haproxy:"));
    expect(proxy?.by).toEqual(["overlay gitops/platform/argocd/overlays/ha"]);
  });

  it("is printed for people, for programs, and as entries of a kustomization", () => {
    const images = [{ image: "quay.io/a/b:1", by: ["x: Istio"], digest: sum }];
    expect(printed(images, ["a chart"], "people")).toBe(
      `quay.io/a/b:1@${sum}\n  x: Istio\nnot looked at: a chart\n`,
    );
    expect(JSON.parse(printed(images, [], "json"))).toEqual({ images, skipped: [] });
    expect(printed(images, [], "kustomize")).toBe(
      `images:\n  - name: quay.io/a/b\n    # quay.io/a/b:1\n    digest: ${sum}\n`,
    );
  });
});

describe("a registry", () => {
  let server: Server;
  let asked: string[];
  let withHeader: boolean;
  const host = (): string => `127.0.0.1:${(server.address() as AddressInfo).port}`;

  beforeEach(async () => {
    asked = [];
    withHeader = true;
    server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url} ${request.headers.authorization ?? ""}`.trim());
      const url = new URL(request.url ?? "", `http://${host()}`);
      if (url.pathname === "/token") return response.end(JSON.stringify({ token: "t" }));
      const isPrivate = url.pathname.startsWith("/v2/private/");
      if (isPrivate && request.headers.authorization !== "Bearer t") {
        const challenge = `Bearer realm="http://${host()}/token",service="here",scope="repository:private/a:pull"`;
        return response.writeHead(401, { "www-authenticate": challenge }).end();
      }
      if (!url.pathname.endsWith("/manifests/1")) return response.writeHead(404).end();
      if (withHeader) response.setHeader("docker-content-digest", sum);
      return response.end("{}");
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  });
  afterEach(() => new Promise((done) => server.close(done)));

  it("says the digest that a tag means", async () => {
    expect(await resolveDigest(`${host()}/open/a:1`)).toBe(sum);
    expect(asked).toEqual(["HEAD /v2/open/a/manifests/1"]);
  });

  it("is given the token that it asks for", async () => {
    expect(await resolveDigest(`${host()}/private/a:1`)).toBe(sum);
    expect(asked).toEqual([
      "HEAD /v2/private/a/manifests/1",
      "GET /token?service=here&scope=repository%3Aprivate%2Fa%3Apull",
      "HEAD /v2/private/a/manifests/1 Bearer t",
    ]);
  });

  it("that leaves the header out is asked for the manifest itself", async () => {
    withHeader = false;
    // printf '{}' | sha256sum
    const digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    expect(await resolveDigest(`${host()}/private/a:1`)).toBe(digest);
    expect(asked.at(-1)).toBe("GET /v2/private/a/manifests/1 Bearer t");
  });

  it("that has no such image is named, and so is one that does not answer", async () => {
    await expect(resolveDigest(`${host()}/open/a:2`)).rejects.toThrow(
      `${host()}/open/a:2: ${host()} answered 404`,
    );
    await expect(resolveDigest("127.0.0.1:1/a:1")).rejects.toThrow(/127\.0\.0\.1:1 does not answer/);
  });

  it("is not asked for what is pinned already", async () => {
    expect(await resolveDigest(`${host()}/a@${sum}`)).toBe(sum);
    expect(asked).toEqual([]);
  });

  it.each([
    ["docker.io/library/redis:7", "https://registry-1.docker.io/v2/library/redis/manifests/7"],
    ["quay.io/a/b:1", "https://quay.io/v2/a/b/manifests/1"],
    ["localhost:5001/a:1", "http://localhost:5001/v2/a/manifests/1"],
  ])("of %s is asked at %s", (image, url) => {
    expect(manifestURL(image)).toBe(url);
  });

  it("asks for a token in one header", () => {
    const header =
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a:pull"';
    expect(parseChallenge(header)).toEqual({
      realm: "https://auth.docker.io/token",
      service: "registry.docker.io",
      scope: "repository:a:pull",
    });
  });
});
