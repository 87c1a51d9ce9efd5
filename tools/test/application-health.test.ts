import { readFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LuaEngine, LuaFactory } from "wasmoon";
import { checkout } from "../../lib/repository.ts";

// Argo CD gives the script no libraries but base and table.
const withoutLibraries = "string, math, os, io, debug, coroutine, utf8 = nil";
const file = join(checkout, "gitops/platform/argocd/settings/patches/argocd-cm.yaml");
const { data } = load(readFileSync(file, "utf8")) as { data: Record<string, string> };
const script = data["resource.customizations.health.argoproj.io_Application"] ?? "";

const source = { repoURL: "https://git.example/shop.git", path: "deploy", targetRevision: "trunk" };
const destination = { server: "https://kubernetes.default.svc", namespace: "shop" };
const synced = {
  health: { status: "Healthy" },
  sync: { status: "Synced", revision: "abc", comparedTo: { source, destination } },
};

let lua: LuaEngine;
beforeAll(async () => {
  lua = await new LuaFactory().createEngine({ enableProxy: false });
  await lua.doString(withoutLibraries);
});
afterAll(() => lua.global.close());

async function health(application: object): Promise<{ status: string; message: string }> {
  lua.global.set("obj", application);
  return lua.doString(script);
}

describe("the health of an Application", () => {
  test("is that of its own status once it is synced", async () => {
    const spec = { source, destination };
    expect(await health({ spec, status: synced })).toEqual({ status: "Healthy", message: "" });
    const degraded = { ...synced, health: { status: "Degraded", message: "a pod fails" } };
    expect(await health({ spec, status: degraded })).toEqual({ status: "Degraded", message: "a pod fails" });
    const finished = { ...synced, operationState: { phase: "Succeeded", retryCount: 3 } };
    expect((await health({ spec, status: finished })).status).toBe("Healthy");
  });

  test("ignores fields that are set to nothing", async () => {
    const spec = { source: { ...source, chart: "", helm: {}, directory: { recurse: false } }, destination };
    expect((await health({ spec, status: synced })).status).toBe("Healthy");
  });

  test("compares several sources", async () => {
    const sources = [
      source,
      { repoURL: "https://charts.example", chart: "box", helm: { valuesObject: { a: 1 } } },
    ];
    const status = { ...synced, sync: { ...synced.sync, comparedTo: { sources, destination } } };
    expect((await health({ spec: { sources, destination }, status })).status).toBe("Healthy");
    const other = [source, { ...sources[1], helm: { valuesObject: { a: 2 } } }];
    expect((await health({ spec: { sources: other, destination }, status })).status).toBe("Progressing");
    expect((await health({ spec: { sources: [source], destination }, status })).status).toBe("Progressing");
  });

  test.each([
    ["no status", {}],
    ["an empty status", { status: {} }],
    ["no health", { status: { ...synced, health: {} } }],
    ["no comparison", { status: { ...synced, sync: { status: "Synced" } } }],
    ["an earlier path", { spec: { source: { ...source, path: "elsewhere" }, destination }, status: synced }],
    [
      "an earlier branch",
      { spec: { source: { ...source, targetRevision: "next" }, destination }, status: synced },
    ],
    [
      "an earlier namespace",
      { spec: { source, destination: { ...destination, namespace: "b" } }, status: synced },
    ],
    [
      "an option since removed",
      {
        status: {
          ...synced,
          sync: {
            ...synced.sync,
            comparedTo: { source: { ...source, kustomize: { namePrefix: "a" } }, destination },
          },
        },
      },
    ],
    ["a commit not yet synced", { status: { ...synced, sync: { ...synced.sync, status: "OutOfSync" } } }],
    [
      "a sync that is running",
      { status: { ...synced, operationState: { phase: "Running", retryCount: 0 } } },
    ],
    ["a sync that is requested", { operation: { sync: {} }, status: synced }],
  ])("is Progressing with %s", async (_, application) => {
    const { status, message } = await health({ spec: { source, destination }, ...application });
    expect(status).toBe("Progressing");
    expect(message).toBeTypeOf("string");
  });

  test.each([
    ["failed", { phase: "Failed", message: "refused" }],
    ["ended in an error", { phase: "Error", message: "refused" }],
    ["is being retried", { phase: "Running", retryCount: 2, message: "refused" }],
  ])("is Degraded when the sync %s", async (_, operationState) => {
    const status = { ...synced, sync: { ...synced.sync, status: "OutOfSync" }, operationState };
    expect(await health({ spec: { source, destination }, status })).toEqual({
      status: "Degraded",
      message: "refused",
    });
  });

  test("forgets a failed sync once a later commit equals what runs", async () => {
    const status = { ...synced, operationState: { phase: "Failed", message: "terminated" } };
    expect((await health({ spec: { source, destination }, status })).status).toBe("Healthy");
  });
});
