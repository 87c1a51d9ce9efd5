/** E6 D4: the pages that the platform names open, in a browser, and show what is there. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../lib/failure.ts";
import { slow, sweep } from "../lib/test/long.ts";
import { descriptions } from "../tools/monitoring/dashboards/index.ts";
import { append, pods, post, send } from "./app.ts";
import { applications, cloneOfConverged, converged, endClone, rollout } from "./applications.ts";
import { adminPage, applicationPath, barButton, pauseHealing, settled, treeNode } from "./argocd.ts";
import { complaints, leastIdleShare, picture, startBrowser } from "./browser.ts";
import type { Clone } from "./clone.ts";
import { get, kubectl, list, secret } from "./kubectl.ts";
import { exported } from "./platform.ts";
import { query } from "./prometheus.ts";

let browser: Browser;

beforeAll(async () => {
  browser = await startBrowser();
});

afterAll(() => browser?.close());

const open = (): Promise<Page> => browser.newPage({ viewport: { width: 1500, height: 950 } });

describe("E6 Argo CD", () => {
  let page: Page;
  let complained: string[];

  const go = (path: string): Promise<unknown> => page.goto(exported("ARGOCD_URL") + path);

  // Any of the tests may be the first one that runs.
  beforeAll(async () => {
    page = await open();
    complained = complaints(page);
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

  test("signs in the user who may look", () => {
    expect(new URL(page.url()).pathname).toBe("/applications");
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

  const node = (kind: string, name: string) => treeNode(page, kind, name);

  test("shows the tree of logging: the Deployment, its ReplicaSet and its three pods", async () => {
    await go("/applications/argocd/logging?view=tree");
    await node("Deployment", "app").waitFor();
    const replicaSet = (await pods())[0]?.metadata.name.replace(/-[^-]+$/, "") ?? "";
    await node("ReplicaSet", replicaSet).waitFor();
    for (const { metadata } of await pods()) await node("Pod", metadata.name).waitFor();
    // The tree is larger than the screen, and the picture is of the pods.
    await node("Pod", (await pods())[0]?.metadata.name ?? "").scrollIntoViewIfNeeded();
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

  test("shows a request just refused in the log of the pod of the app that refused it", async () => {
    // In the mesh the app has no line of its own for a request that went well.
    const { status, requestId } = await append("no JSON", { "content-type": "application/json" });
    expect(status).toBe(400);
    let name = "";
    await until("the pod that refused it", 30, async () => {
      for (const pod of await pods()) {
        const log = await kubectl(["-n", "logging", "logs", pod.metadata.name, "-c", "app", "--since", "5m"]);
        if (log.includes(requestId)) name = pod.metadata.name;
      }
      return name === "" ? `no pod of the app has a line of request ${requestId}` : undefined;
    });
    await page.goto(applicationPath("logging", `/Pod/logging/${name}`, "logs"));
    await page.getByText(requestId).first().waitFor({ timeout: 60_000 });
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

  test("stands still while nobody touches it", slow, async ({ annotate }) => {
    await go("/applications/argocd/logging?view=tree");
    await node("Deployment", "app").waitFor();
    await page.waitForTimeout(5000);
    const least = await leastIdleShare(page);
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

describe("E6 Argo CD by button, as who may change things", slow, () => {
  const config = "gitops/apps/logging/base/app/config.env";
  let page: Page;
  let complained: string[];
  let clone: Clone;
  let commit: string;
  let greeting: string;
  let goOn: (() => Promise<void>) | undefined;

  beforeAll(async () => {
    clone = await cloneOfConverged();
    greeting = (await send("/")).body;
    clone.edit(config, (text) => text.replace(/^GREETING=.*$/m, `GREETING=On a screen ${Date.now()}`));
    commit = await clone.push("e2e: another greeting, to be rolled back by button");
    await converged(commit);
    goOn = await pauseHealing("root", "logging");
    page = await adminPage(browser);
    complained = complaints(page);
  });

  afterAll(async () => {
    await goOn?.();
    await endClone(clone);
  });

  const historyLimit = async (): Promise<number> =>
    (await get<{ spec: { revisionHistoryLimit: number } }>("deployment", "app", "--namespace", "logging"))
      .spec.revisionHistoryLimit;

  test("shows the difference of a field that was edited by hand, while healing is paused", async () => {
    const patch = JSON.stringify({ spec: { revisionHistoryLimit: 7 } });
    await kubectl(["--namespace", "logging", "patch", "deployment", "app", "--type=merge", "--patch", patch]);
    await settled("logging", "OutOfSync");
    await page.goto(applicationPath("logging"));
    await barButton(page, "Diff").click();
    const difference = page.locator(".application-resources-diff");
    await difference.getByText("revisionHistoryLimit: 7").first().waitFor();
    await difference.getByText("revisionHistoryLimit: 3").first().waitFor();
    expect(await historyLimit()).toBe(7);
  });

  test("a sync by button puts the field back", async () => {
    await page.goto(applicationPath("logging"));
    await barButton(page, "Sync").click();
    await page.getByTestId("application-sync-panel-button-synchronize").click();
    await settled("logging", "Synced");
    expect(await historyLimit()).toBe(3);
  });

  test("a rollback by button brings back what ran before the last commit", async () => {
    const { history = [] } = (await settled("logging", "Synced")).status;
    const before = history.findLastIndex(({ revision }) => revision !== commit);
    expect(before).toBeGreaterThanOrEqual(0);
    await page.goto(applicationPath("logging"));
    await barButton(page, "History and rollback").click();
    // The newest stands first.
    const row = page.locator(".application-deployment-history__item-menu").nth(history.length - 1 - before);
    await row.locator("button").first().click();
    await page.getByText("Rollback", { exact: true }).first().click();
    await page.getByRole("button", { name: "OK" }).click();
    const { status } = await settled("logging", "OutOfSync");
    expect(status.history?.at(-1)?.revision).toBe(history[before]?.revision);
    await until("the greeting before", 120, async () => {
      const answers = await Promise.all(Array.from({ length: 9 }, async () => (await send("/")).body));
      return (await rollout()) ?? answers.find((body) => body !== greeting);
    });
  });

  test("complains of nothing in its console", () => {
    expect(complained).toEqual([]);
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

  const names = descriptions.map(({ name }) => name);

  sweep(names, 1)("%s shows each of its panels", async (name) => {
    const { title, rows } = descriptions.find((one) => one.name === name) ?? { title: "", rows: [] };
    for (let i = 0; i < 5; i++) await post("so that there is something to draw");
    const page = await open();
    const complained = complaints(page);
    // A panel is drawn when it comes into sight.
    await page.setViewportSize({ width: 1600, height: Math.max(2600, 430 * rows.length) });
    await page.goto(`${exported("DASHBOARDS_URL")}/${name}`);
    const panels = rows.flatMap((row) => row.panels);
    expect(panels.length).toBeGreaterThan(5);
    for (const { title } of panels) await page.getByText(title, { exact: true }).first().waitFor();
    await page.waitForLoadState("networkidle");
    const shown = await page.evaluate(() => document.body.innerText);
    expect(shown).toContain(title);
    const untitled = panels.reduce((text, { title }) => text.replaceAll(title, ""), shown);
    expect(untitled).not.toMatch(/error|failed to|not found/i);
    const allowed = panels.filter((panel) => quiet.has(panel.title)).length;
    expect(shown.match(/No data/g)?.length ?? 0).toBeLessThanOrEqual(allowed);
    expect(complained).toEqual([]);
    await picture(page, `dashboard-${name}`);
    await page.close();
  });

  // A graph says "No data" in its picture and not in the page's text: what its questions are answered is asked for besides.
  sweep(names, 1)("%s asks what has an answer", async (name) => {
    const rows = descriptions.find((one) => one.name === name)?.rows ?? [];
    // Nobody need have a service of their own.
    const shown = rows.filter(({ title }) => title !== "Services beside it").flatMap(({ panels }) => panels);
    const asked = shown.filter(({ title }) => !quiet.has(title));
    await until("an answer for each panel", 180, async () => {
      await post("so that there is something to draw");
      const silent: string[] = [];
      for (const panel of asked) {
        const expressions = panel.kind === "graph" ? Object.values(panel.queries) : [panel.expression];
        const answers = await Promise.all(
          expressions.map((expression) => query(expression.replaceAll("$__rate_interval", "2m"))),
        );
        if (answers.flat().length === 0) silent.push(panel.title);
      }
      return silent.length === 0 ? undefined : `none for ${silent.join(", ")}`;
    });
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

describe("D4 alerts", () => {
  // It always fires.
  const name = "Watchdog";
  let page: Page;
  let complained: string[];

  beforeAll(async () => {
    page = await open();
    complained = complaints(page);
  });

  const alerts = () => page.getByRole("list", { name: "Alerts" });
  const silences = () => page.getByRole("list", { name: "Silences" });

  test("the front page leads to every page, and each of them answers", async () => {
    await page.goto(exported("DASHBOARDS_URL"));
    const links = page.getByRole("main").getByRole("link");
    await links.first().waitFor();
    await picture(page, "front-page");
    const found: string[] = [];
    for (const link of await links.all())
      found.push(new URL((await link.getAttribute("href")) ?? "", page.url()).href.replace(/\/$/, ""));
    const named = ["ARGOCD_URL", "PROMETHEUS_URL", "LOGS_URL", "ALERTS_URL"].map(exported);
    expect(found).toEqual(expect.arrayContaining([...named, `${exported("DASHBOARDS_URL")}/platform`]));
    for (const url of found) expect([url, (await fetch(url)).status]).toEqual([url, 200]);
  });

  test("shows what Alertmanager holds, and what to do about it", async () => {
    await page.goto(exported("ALERTS_URL"));
    await alerts().getByText(name, { exact: true }).waitFor();
    await alerts().getByText("docs/runbooks/watchdog.md").first().waitFor();
  });

  test("silences one for who knows the password, and for nobody else", async () => {
    const { password = "" } = await secret("monitoring", "alertmanager-door");
    await page.getByRole("button", { name: `Silence ${name}` }).click();
    const form = page.getByRole("dialog", { name: "New silence" });
    expect(await form.getByLabel("Matchers").inputValue()).toContain(`alertname="${name}"`);
    await form.getByLabel("Your name").fill("e2e");
    await form.getByLabel("Why").fill("seen on a screen");
    await form.getByLabel(/^Password/).fill("not this one");
    await form.getByRole("button", { name: "Silence" }).click();
    await form.getByText("The password is not right.").waitFor();
    // The browser says so too.
    expect(complained.splice(0).filter((line) => !line.includes("401"))).toEqual([]);
    expect(await silences().getByText("seen on a screen").count()).toBe(0);
    await form.getByLabel(/^Password/).fill(password);
    await form.getByRole("button", { name: "Silence" }).click();
    await silences().getByText("seen on a screen").waitFor();
    await alerts()
      .getByText(/^silenced, since/)
      .first()
      .waitFor({ timeout: 30_000 });
    await picture(page, "alerts");
  });

  test("ends a silence", async () => {
    await page.getByRole("button", { name: "End the silence seen on a screen" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "End" }).click();
    await silences().getByText("seen on a screen").waitFor({ state: "hidden" });
    expect(complained).toEqual([]);
  });

  test("stands still while nobody touches it", slow, async ({ annotate }) => {
    await page.goto(exported("ALERTS_URL"));
    await alerts().getByText(name, { exact: true }).waitFor();
    const least = await leastIdleShare(page);
    await annotate(`${(least * 100).toFixed(1)} % of a core`);
    expect(least).toBeLessThan(0.05);
    expect(complained).toEqual([]);
  });

  test("is asked for a password by whatever changes a silence, and for nothing else", async () => {
    const door = `${exported("DASHBOARDS_URL")}/alertmanager`;
    const status = async (method: string, path: string, headers: HeadersInit = {}): Promise<number> => {
      const body = method === "POST" ? "{}" : null;
      return (
        await fetch(door + path, {
          method,
          body,
          headers: { "content-type": "application/json", ...headers },
        })
      ).status;
    };
    const one = "/api/v2/silence/00000000-0000-0000-0000-000000000000";
    expect(await status("GET", "/api/v2/alerts")).toBe(200);
    expect(await status("GET", "/api/v2/silences")).toBe(200);
    expect(await status("POST", "/api/v2/silences")).toBe(401);
    expect(await status("POST", "/api/v2/silences", { authorization: `Basic ${btoa("admin:")}` })).toBe(401);
    expect(await status("DELETE", one)).toBe(401);
    // Nor does another page of the browser: it is not told that it may ask.
    expect(await status("OPTIONS", "/api/v2/silences", { origin: "http://example.com" })).toBe(403);
    expect(await status("POST", "/api/v2/alerts")).toBe(403);
    for (const path of ["/metrics", "/api/v2/status", "/-/reload", "/debug/pprof/"])
      expect([path, await status("GET", path)]).toEqual([path, 403]);
  });
});
