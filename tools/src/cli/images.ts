import { type Command, Option } from "commander";
import { concurrently } from "../../../lib/concurrency.ts";
import { layoutOf } from "../../../lib/configuration.ts";
import { parseImage } from "../../../lib/images/names.ts";
import { resolveDigest } from "../../../lib/images/registry.ts";
import { note } from "../../../lib/progress.ts";
import { Cache } from "../../../lib/render/cache.ts";
import { clusterNames } from "../../../lib/render/cluster.ts";
import { cacheDirectory, checkout, readRepository } from "../../../lib/repository.ts";
import { clusterImages, overlayImages, type UsedImage } from "../images/list.ts";
import { exitCodes, WrongUsage } from "./usage.ts";

type Resolved = UsedImage & { digest?: string };

/** Adds `images`. */
export function addImages(program: Command): void {
  program
    .command("images")
    .description("list every image that clusters and overlays run")
    .option("--cluster <name>", "this cluster alone, without overlays that it does not use")
    .option("--digests", "ask the registries which digest each tag means now")
    .addOption(
      new Option("--format <form>", "kustomize prints entries that pin images by digest")
        .choices(["people", "json", "kustomize"])
        .default("people"),
    )
    .addHelpText("after", "\nExit codes: 0 done, 1 a digest could not be found, 2 wrong command line")
    .action(async ({ cluster, digests, format }: { cluster?: string; digests?: true; format: string }) => {
      if (format === "kustomize" && !digests) throw new WrongUsage("--format kustomize needs --digests");
      const repository = await readRepository(checkout);
      const clusters = clusterNames(repository);
      if (cluster && !clusters.includes(cluster))
        throw new WrongUsage(`${layoutOf(repository).clusters} has no cluster named ${cluster}`);
      const cache = new Cache(cacheDirectory);
      const { images, skipped } = await clusterImages(
        checkout,
        repository,
        cluster ? [cluster] : clusters,
        cache,
      );
      const overlays = cluster ? [] : (await overlayImages(checkout, repository)).images;
      const all = merged([...images, ...overlays]);
      const resolved = digests ? await resolve(all) : all;
      process.stdout.write(printed(resolved, skipped, format));
      if (digests && resolved.some(({ digest }) => !digest)) process.exitCode = exitCodes.failed;
    });
}

function merged(images: UsedImage[]): Resolved[] {
  const users = new Map<string, string[]>();
  for (const { image, by } of images) users.set(image, [...(users.get(image) ?? []), ...by]);
  return [...users].map(([image, by]) => ({ image, by })).sort((a, b) => a.image.localeCompare(b.image));
}

function resolve(images: Resolved[]): Promise<Resolved[]> {
  return concurrently(images, async (used) => {
    try {
      return { ...used, digest: await resolveDigest(used.image) };
    } catch (error) {
      note((error as Error).message);
      return used;
    }
  });
}

/** The list in one of its forms. */
export function printed(images: Resolved[], skipped: string[], format: string): string {
  if (format === "json") return `${JSON.stringify({ images, skipped }, null, 2)}\n`;
  if (format === "kustomize") {
    const entries = images.flatMap(({ image, digest }) =>
      digest ? [`  - name: ${parseImage(image).name}\n    # ${image}\n    digest: ${digest}\n`] : [],
    );
    return `images:\n${entries.join("")}`;
  }
  return [
    ...images.map(({ image, digest, by }) =>
      [digest ? `${image}@${digest}` : image, ...by.map((user) => `  ${user}`)].join("\n"),
    ),
    ...skipped.map((what) => `not looked at: ${what}`),
    "",
  ].join("\n");
}
