/** E6 D4: the pages that the platform names open, in a browser, and show what is there. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { descriptions } from "../tools/monitoring/dashboards/index.ts";
import { pods, post } from "./app.ts";
import { applications } from "./applications.ts";
import { complaints, idleShare, picture, startBrowser } from "./browser.ts";
import { list, secret } from "./kubectl.ts";
import { exported } from "./platform.ts";

let browser: Browser;

beforeAll(async () => {
  browser = await startBrowser();
});

afterAll(() => browser?.close());

const open = (): Promise<Page> => browser.newPage({ viewport: { width: 1500, height: 950 } });

describe("E6 Argo CD", () => {
  let page: Page;
  let complained: string[];

  beforeAll(async () => {
    page = await open();
    complained = complaints(page);
  });

  const go = (path: string): Promise<unknown> => page.goto(exported("ARGOCD_URL") + path);

  test("signs in the user who may look", async () => {
    const { password = "" } = await secret("argocd", "argocd-viewer");
    await go("/login");
    await page.fill('input[name="username"]', "viewer");
    await page.fill('input[name="password"]', password);
    // Who is not signed in yet is told so, which is no complaint.
    await page.waitForLoadState("networkidle");
    complained.length = 0;
    await page.click('button[type="submit"]');
    await page.waitForURL(/\/applications/);
  });

  test("lists every Application, Synced and Healthy", async () => {
    const names = (await applications()).map(({ metadata }) => metadata.name);
    for (const name of names) {
      const tile = page
        .locator(`.qe-applications-list-argocd_${name}, .qe-applications-list-${name}`)
        .first();
      await tile.waitFor();
      const text = await tile.innerText();
      expect(text, name).toMatch(/Healthy/);
      expect(text, name).toMatch(/Synced/);
    }
    await picture(page, "argocd-applications");
  });

  const node = (kind: string, name: string) =>
    page.locator(`.application-resource-tree__node[title*="Kind: ${kind}"][title*="Name: ${name}"]`).first();

  test("shows the tree of logging: the Deployment, its ReplicaSet and its three pods", async () => {
    await go("/applications/argocd/logging?view=tree");
    await node("Deployment", "app").waitFor();
    const replicaSet = (await pods())[0]?.metadata.name.replace(/-[^-]+$/, "") ?? "";
    await node("ReplicaSet", replicaSet).waitFor();
    for (const { metadata } of await pods()) await node("Pod", metadata.name).waitFor();
    await picture(page, "argocd-tree");
  });

  test("shows a line just posted in the log of the agent that prints it", async () => {
    const agents = (await list("pods", "-n", "log-agent")).filter(
      ({ metadata }) => metadata.labels?.["app.kubernetes.io/component"] === "agent",
    );
    const mark = `on a screen ${Date.now()}`;
    // Three pods on two nodes: of so many lines each agent has one.
    for (let i = 0; i < 12; i++) expect((await post(`${mark} ${i}`)).status).toBe(200);
    const name = agents[0]?.metadata.name ?? "";
    await go(`/applications/argocd/log-agent?view=tree&node=%2FPod%2Flog-agent%2F${name}%2F0&tab=logs`);
    await page.getByText(mark).first().waitFor({ timeout: 60_000 });
    await picture(page, "argocd-log");
  });

  test("opens a pod's events and its live manifest", async () => {
    const name = (await pods())[0]?.metadata.name ?? "";
    await go(`/applications/argocd/logging?view=tree&node=%2FPod%2Flogging%2F${name}%2F0&tab=events`);
    await page.locator(".tabs__nav a.active", { hasText: "EVENTS" }).waitFor();
    await go(`/applications/argocd/logging?view=tree&node=%2FPod%2Flogging%2F${name}%2F0&tab=summary`);
    await page.getByText("LIVE MANIFEST").first().waitFor();
    // The editor draws the lines that are in sight.
    await page.locator(".view-lines", { hasText: "apiVersion" }).first().waitFor();
  });

  test("stands still while nobody touches it", async ({ annotate }) => {
    await go("/applications/argocd/logging?view=tree");
    await node("Deployment", "app").waitFor();
    await page.waitForTimeout(5000);
    // An endless rendering takes 70 % all the time; what changes on the cluster meanwhile is drawn, which takes some once.
    let least = 1;
    for (let round = 0; round < 6 && least >= 0.05; round++)
      least = Math.min(least, await idleShare(page, 10));
    await annotate(`${(least * 100).toFixed(1)} % of a core`);
    expect(least).toBeLessThan(0.05);
  });

  test("complains of nothing in its console", () => {
    expect(complained).toEqual([]);
  });

  test("lets who may look change nothing", async () => {
    const status = await page.evaluate(async () => {
      const answers: number[] = [];
      for (const [method, path] of [
        ["POST", "/api/v1/applications/logging/sync"],
        ["DELETE", "/api/v1/applications/logging"],
        ["PUT", "/api/v1/account/password"],
      ] as const) {
        const body = JSON.stringify({ name: "admin", newPassword: "a-new-password" });
        const headers = { "content-type": "application/json" };
        answers.push((await fetch(path, { method, body, headers })).status);
      }
      return answers;
    });
    for (const code of status) expect(code).toBeGreaterThanOrEqual(400);
    expect(status.slice(0, 2)).toEqual([403, 403]);
  });
});

describe("D4 dashboards", () => {
  // What has no samples on a platform where nothing goes wrong.
  const quiet = new Set([
    "Restarts",
    "Budget burn",
    "Failed",
    "Not ready",
    "Certificates",
    "Dropped unarchived",
  ]);

  test.each(descriptions.map(({ name }) => name))("%s shows each of its panels", async (name) => {
    const { title, rows } = descriptions.find((one) => one.name === name) ?? { title: "", rows: [] };
    for (let i = 0; i < 5; i++) await post("so that there is something to draw");
    const page = await open();
    const complained = complaints(page);
    await page.setViewportSize({ width: 1600, height: 2600 });
    await page.goto(`${exported("DASHBOARDS_URL")}/${name}`);
    const panels = rows.flatMap((row) => row.panels);
    expect(panels.length).toBeGreaterThan(5);
    for (const { title } of panels) await page.getByText(title, { exact: true }).first().waitFor();
    await page.waitForLoadState("networkidle");
    const shown = await page.evaluate(() => document.body.innerText);
    expect(shown).toContain(title);
    expect(shown).not.toMatch(/error|failed to|not found/i);
    const allowed = panels.filter((panel) => quiet.has(panel.title)).length;
    expect(shown.match(/No data/g)?.length ?? 0).toBeLessThanOrEqual(allowed);
    expect(complained).toEqual([]);
    await picture(page, `dashboard-${name}`);
    await page.close();
  });

  test("ask Prometheus, and nothing else gets through", async () => {
    const door = `${exported("DASHBOARDS_URL")}/prometheus/api/v1`;
    const count = async (path: string, init?: RequestInit): Promise<number> =>
      (await fetch(door + path, init)).status;
    expect(await count("/query?query=up")).toBe(200);
    expect(await count("/query", { method: "POST", body: new URLSearchParams({ query: "up" }) })).toBe(200);
    expect(await count("/targets")).toBe(403);
    expect(await count("/status/config")).toBe(403);
    expect(await count("/admin/tsdb/delete_series?match[]=up", { method: "POST" })).toBe(403);
    expect(await count("/query?query=up", { method: "DELETE" })).toBe(403);
    const missing = await fetch(`${exported("DASHBOARDS_URL")}/dashboards/none.json`);
    expect(missing.status).toBe(404);
  });
});
