/** Which images in the mirror are unneeded, and, with the real registry, that exactly their space is freed. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { until } from "../../../lib/failure.ts";
import { freePort } from "../../../lib/test/free-port.ts";

const directory = mkdtempSync(join(tmpdir(), "garbage-"));
vi.stubEnv("STATE_DIR", join(directory, "state"));
vi.stubEnv("CACHE_DIR", join(directory, "cache"));
const { fullName, imageFields, mirrorTags, parseDeployed, removeTags, unneeded } = await import(
  "../src/mirror-garbage.ts"
);
const { cache } = await import("../src/layout.ts");

afterAll(() => rmSync(directory, { recursive: true }));

const now = new Date("2026-11-26T00:00:00Z");
const daysAgo = (days: number): Date => new Date(now.getTime() - days * 86_400_000);
const app = (tag: string): string => `docker.io/logging-platform/app:${tag}`;

describe("a tag", () => {
  const old = (tag: string) => ({ reference: app(tag), pushed: daysAgo(40) });
  // These are six releases, one every two weeks, newest first.
  const history = ["f", "e", "d", "c", "b", "a"].map((tag, index) => ({
    reference: app(tag),
    committed: daysAgo(index * 14),
  }));
  const gone = (used: string[] = []): string[] =>
    unneeded(["a", "b", "c", "d", "e", "f", "z"].map(old), new Set(used), history, now).map(
      ({ reference }) => reference.split(":").pop() ?? "",
    );

  it("is not needed where no commit of 30 days, no rollback and no pod names it", () => {
    expect(gone()).toEqual(["a", "b", "c", "z"]);
  });

  it("stays while a pod names it", () => {
    expect(gone([app("a"), app("z")])).toEqual(["b", "c"]);
  });

  it("stays for a rollback, however old: the last three of each image", () => {
    const years = history.map((one) => ({ ...one, committed: daysAgo(1000) }));
    const tags = ["a", "c", "d", "e", "f"].map(old);
    expect(unneeded(tags, new Set(), years, now).map(({ reference }) => reference)).toEqual([
      app("a"),
      app("c"),
    ]);
  });

  it("stays for 30 days after its push, before any commit names it", () => {
    const fresh = [{ reference: app("new"), pushed: daysAgo(29) }];
    expect(unneeded(fresh, new Set(), [], now)).toEqual([]);
    expect(unneeded(fresh, new Set(), [], new Date(now.getTime() + 2 * 86_400_000))).toEqual(fresh);
  });
});

it("reads the images of commits with the time of each", () => {
  const text = "1700000000\n\n1690000000\ndocker.io/x/app:1\ndocker.io/x/archiver:2\n\n1680000000\n";
  expect(parseDeployed(text)).toEqual([
    { reference: "docker.io/x/app:1", committed: new Date(1690000000000) },
    { reference: "docker.io/x/archiver:2", committed: new Date(1690000000000) },
  ]);
});

it("finds images at any depth of an object, and not what else is called so", () => {
  const pod = {
    spec: { initContainers: [{ image: "a:1" }], containers: [{ image: "b:2", env: [{ image: {} }] }] },
  };
  expect(imageFields({ items: [pod, { spec: { jobTemplate: { spec: { template: pod } } } }] })).toEqual([
    ...["a:1", "b:2"],
    ...["a:1", "b:2"],
  ]);
});

it.each([
  ["busybox", "docker.io/library/busybox:latest"],
  ["busybox:1", "docker.io/library/busybox:1"],
  ["istio/pilot:1", "docker.io/istio/pilot:1"],
  ["quay.io/x/y:1", "quay.io/x/y:1"],
  ["localhost/y", "localhost/y:latest"],
  ["r.example:5000/y", "r.example:5000/y:latest"],
])("knows %s as %s", (image, name) => {
  expect(fullName(image)).toBe(name);
});

describe("removal from the store", () => {
  const store = cache("registry");
  const settings = join(directory, "registry.json");
  const digestOf = (text: string): string => `sha256:${createHash("sha256").update(text).digest("hex")}`;

  /** Runs a function while a registry serves the store. */
  async function served<T>(work: (url: string) => Promise<T>): Promise<T> {
    const port = await freePort();
    const configuration = {
      version: "0.1",
      log: { level: "error" },
      storage: { filesystem: { rootdirectory: store }, delete: { enabled: true } },
      http: { addr: `127.0.0.1:${port}` },
    };
    writeFileSync(settings, JSON.stringify(configuration));
    const registry = spawn("/usr/bin/docker-registry", ["serve", settings], { env: {}, stdio: "ignore" });
    try {
      const url = `http://127.0.0.1:${port}/v2`;
      await until("registry", 30, async () => ((await fetch(url)).ok ? undefined : "no answer"));
      return await work(url);
    } finally {
      const exited = once(registry, "exit");
      registry.kill("SIGKILL");
      await exited;
    }
  }

  const name = "docker.io/logging-platform/app";

  async function push(url: string, tag: string, layers: string[]): Promise<void> {
    const blobs = ["{}", ...layers];
    for (const blob of blobs) {
      const begun = await fetch(`${url}/${name}/blobs/uploads/`, { method: "POST" });
      const place = new URL(begun.headers.get("location") ?? "");
      place.searchParams.set("digest", digestOf(blob));
      const done = await fetch(place, { method: "PUT", body: blob });
      expect(done.status).toBe(201);
    }
    const mediaType = "application/vnd.oci.image.manifest.v1+json";
    const described = blobs.map((blob) => ({
      mediaType: "application/octet-stream",
      digest: digestOf(blob),
      size: blob.length,
    }));
    const [config, ...rest] = described;
    const body = JSON.stringify({ schemaVersion: 2, mediaType, config, layers: rest });
    const headers = { "content-type": mediaType };
    const put = await fetch(`${url}/${name}/manifests/${tag}`, { method: "PUT", headers, body });
    expect(put.status).toBe(201);
  }

  it("takes the room of what is gone, and leaves what another tag has of the same", async () => {
    await served(async (url) => {
      await push(url, "old", ["shared", "of the old one"]);
      // Two names have the same content, so removing a digest would remove both.
      await push(url, "twin", ["shared", "of the old one"]);
      await push(url, "older", ["shared", "of the older one"]);
      await push(url, "kept", ["shared", "of the kept one"]);
    });
    const tags = mirrorTags();
    expect(tags.map(({ reference }) => reference.split(":").pop()).sort()).toEqual([
      ...["kept", "old", "older", "twin"],
    ]);
    await removeTags(
      tags.filter(({ reference }) => /:(old|older)$/.test(reference)),
      settings,
    );
    await served(async (url) => {
      const status = async (path: string): Promise<number> =>
        (
          await fetch(`${url}/${name}${path}`, {
            headers: { accept: "application/vnd.oci.image.manifest.v1+json, */*" },
          })
        ).status;
      const found = await Promise.all(
        ["old", "older", "twin", "kept"].map((tag) => status(`/manifests/${tag}`)),
      );
      expect(found).toEqual([404, 404, 200, 200]);
      const layers = ["shared", "of the old one", "of the older one", "of the kept one"];
      const kept = await Promise.all(layers.map((layer) => status(`/blobs/${digestOf(layer)}`)));
      expect(kept).toEqual([200, 200, 404, 200]);
    });
    const blobs = readdirSync(store, { recursive: true, encoding: "utf8" }).filter((path) =>
      path.endsWith(`${digestOf("of the older one").slice("sha256:".length)}/data`),
    );
    expect(blobs).toEqual([]);
  }, 60_000);
});
