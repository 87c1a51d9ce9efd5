/** A headless Chromium that looks at the platform's pages. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { type Browser, chromium, type Page } from "playwright-core";
import { repository } from "./platform.ts";

const executable = "/usr/bin/chromium";

/** Starts Chromium, from Debian's package where it is not there yet. */
export async function startBrowser(): Promise<Browser> {
  if (!existsSync(executable)) {
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    const apt = [
      "-o",
      "DPkg::Lock::Timeout=300",
      "install",
      "--yes",
      "--no-install-recommends",
      "--no-remove",
    ];
    const { failed } = await execa("apt-get", [...apt, "chromium"], { env, reject: false });
    if (failed) {
      await execa("apt-get", ["update"], { env });
      await execa("apt-get", [...apt, "chromium"], { env });
    }
  }
  // As root its sandbox cannot be; it looks at the platform's own pages only.
  return chromium.launch({ executablePath: executable, args: ["--no-sandbox", "--disable-gpu"] });
}

/** What a page's console and network said that should not be. */
export function complaints(page: Page): string[] {
  const found: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error") found.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => found.push(`error: ${error.message}`));
  page.on("response", (response) => {
    if (response.status() >= 400) found.push(`${response.status()}: ${response.url()}`);
  });
  return found;
}

/**
 * The least share of a core that a page uses in some spans of ten seconds while nobody touches it. An endless rendering
 * takes 70 % all the time; what changes on the cluster meanwhile is drawn, which takes some once.
 */
export async function leastIdleShare(page: Page): Promise<number> {
  let least = 1;
  for (let round = 0; round < 6 && least >= 0.05; round++) least = Math.min(least, await idleShare(page, 10));
  return least;
}

async function idleShare(page: Page, seconds: number): Promise<number> {
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  const busy = async (): Promise<number> => {
    const { metrics } = await session.send("Performance.getMetrics");
    return metrics.find(({ name }) => name === "TaskDuration")?.value ?? Number.NaN;
  };
  const before = await busy();
  await page.waitForTimeout(seconds * 1000);
  const share = ((await busy()) - before) / seconds;
  await session.detach();
  return share;
}

/** Keeps a picture below docs/ where PICTURES=1 asks for them. */
export async function picture(page: Page, name: string): Promise<void> {
  if (process.env.PICTURES === "1") await page.screenshot({ path: join(repository, "docs", `${name}.png`) });
}
