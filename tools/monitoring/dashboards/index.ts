import { cluster } from "./cluster.ts";
import type { Dashboard } from "./description.ts";
import { grafana } from "./grafana.ts";
import { mesh } from "./mesh.ts";
import { perses } from "./perses.ts";
import { platform } from "./platform.ts";

/** Every dashboard. */
export const descriptions: Dashboard[] = [platform, cluster, mesh];

/** Where the drawn dashboards lie, and who draws them. */
export const committed = {
  grafana: { folder: "gitops/platform/monitoring/base/dashboards", draw: grafana },
  perses: { folder: "gitops/platform/monitoring/stack/embedded/dashboards", draw: perses },
};

/** Every dashboard as JSON text, by its file from the root of the repository. */
export function dashboards(): Record<string, string> {
  return Object.fromEntries(
    Object.values(committed).flatMap(({ folder, draw }) =>
      descriptions.map((description): [string, string] => [
        `${folder}/${description.name}.json`,
        `${JSON.stringify(draw(description), null, 2)}\n`,
      ]),
    ),
  );
}
