/** Argo CD's pages, as who may change things: signed in by the API, so that no password stands in what a browser reports. */
import { type Browser, type Locator, type Page, selectors } from "playwright-core";
import { until } from "../lib/failure.ts";
import { type Application, application } from "./applications.ts";
import { get, kubectl, secret } from "./kubectl.ts";
import { exported } from "./platform.ts";

// Argo CD names what its own tests press by this attribute.
selectors.setTestIdAttribute("qe-id");

/** Signs a user in by the API, with the password in a Secret of `argocd`. @returns the bearer token */
export async function signedIn(username: string, secretName: string): Promise<string> {
  const { password } = await secret("argocd", secretName);
  const answer = await fetch(`${exported("ARGOCD_URL")}/api/v1/session`, {
    method: "POST",
    body: JSON.stringify({ username, password }),
    headers: { "content-type": "application/json" },
  });
  if (!answer.ok) throw new Error(`Argo CD does not sign ${username} in: ${answer.status}`);
  return ((await answer.json()) as { token: string }).token;
}

/** A page of Argo CD, signed in as its admin, whose password the cluster's administrator may read. */
export async function adminPage(browser: Browser): Promise<Page> {
  const token = await signedIn("admin", "argocd-initial-admin-secret");
  const context = await browser.newContext({ viewport: { width: 1500, height: 950 } });
  await context.addCookies([{ name: "argocd.token", value: token, url: exported("ARGOCD_URL") }]);
  return context.newPage();
}

/** An Application's page; with a resource such as `apps/Deployment/logging/app`, one tab of its panel. */
export function applicationPath(name: string, resource?: string, tab = "summary"): string {
  const panel = resource === undefined ? "" : `&node=${encodeURIComponent(`${resource}/0`)}&tab=${tab}`;
  return `${exported("ARGOCD_URL")}/applications/argocd/${name}?view=tree${panel}`;
}

/** A resource of the tree that is drawn. */
export const treeNode = (page: Page, kind: string, name: string): Locator =>
  page.locator(`.application-resource-tree__node[title*="Kind: ${kind}"][title*="Name: ${name}"]`).first();

/** A button of the bar above an Application, by its text: its icon, a letter of a font, counts as a part of its name. */
export const barButton = (page: Page, text: string): Locator =>
  page.locator("button", { has: page.getByText(text, { exact: true }) }).first();

/**
 * Keeps Applications as they are: nothing follows Git and nothing is healed until the returned function is called. What
 * keeps an Application has to stand before it.
 */
export async function pauseHealing(...names: string[]): Promise<() => Promise<void>> {
  const patch = (name: string, value: object): Promise<string> =>
    kubectl([
      "--namespace",
      "argocd",
      "patch",
      "application",
      name,
      "--type=merge",
      "--patch",
      JSON.stringify({ spec: { syncPolicy: value } }),
    ]);
  const before = new Map<string, object>();
  for (const name of names) {
    const { spec } = await get<{ spec: { syncPolicy: { automated: object } } }>(
      "application",
      name,
      "--namespace",
      "argocd",
    );
    before.set(name, { automated: spec.syncPolicy.automated });
    await patch(name, { automated: null });
  }
  return async () => {
    for (const [name, value] of [...before].reverse()) await patch(name, value);
  };
}

/** Waits until an Application's last operation is over and it is as asked. */
export async function settled(name: string, sync: string): Promise<Application> {
  let found: Application | undefined;
  await until(`${name} ${sync}`, 180, async () => {
    found = await application(name);
    const { operationState, sync: now } = found.status;
    if (operationState?.phase !== "Succeeded") return `its operation is ${operationState?.phase}`;
    return now.status === sync ? undefined : `it is ${now.status}`;
  });
  return found as Application;
}
