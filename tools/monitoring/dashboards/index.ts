import { platform } from "./platform.ts";

/** The folder that holds the generated dashboards. */
export const committed = "gitops/platform/monitoring/base/dashboards";

/** Every dashboard as JSON text, by its file's name. */
export function dashboards(): Record<string, string> {
  return { "platform.json": `${JSON.stringify(platform(), null, 2)}\n` };
}
