import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { parseRegistry } from "../../lib/images/build.ts";
import { checkout } from "../../lib/repository.ts";
import { bundle } from "../../lib/test/bundle.ts";
import { slow, sweep } from "../../lib/test/long.ts";
import { lastRolledBack } from "../src/git/deployments.ts";
import { type PromoteOptions, promote } from "../src/release/promote.ts";
import { release, rollback, setFault } from "../src/release/release.ts";
import { Clone, example, kustomization, Shop } from "./shop.ts";

const overlay = (environment: string): string =>
  `gitops/apps/shop/overlays/${environment}/kustomization.yaml`;
const fault = "gitops/apps/logging/overlays/staging/fault.env";

let prepared: Shop;
let shop: Shop;
let clone: Clone;
/** The tag that every environment has to begin with. */
let first: string;

beforeAll(async () => {
  prepared = await Shop.open();
  clone = await prepared.clone("clone");
  vi.stubEnv("IMAGE_BUILDER", prepared.builder);
  first = await clone.change("first\n");
  for (const environment of ["staging", "production"])
    clone.write(
      overlay(environment),
      `images:\n  - name: registry.example/shop/cart   # as local has it\n    newTag: "${first}"\n`,
    );
  clone.write(fault, "DELAY_PERCENT=10\n");
  await clone.commit("two more environments");
  await release(clone.options({ push: true }));
  vi.unstubAllEnvs();
});
afterAll(() => prepared.close());
beforeEach(async () => {
  shop = await prepared.copy();
  clone = new Clone(join(shop.directory, "clone"));
  vi.stubEnv("IMAGE_BUILDER", shop.builder);
});
afterEach(() => {
  vi.unstubAllEnvs();
  shop.close();
});

const options = (more: Partial<PromoteOptions> = {}): PromoteOptions => ({
  ...clone.options(),
  registry: parseRegistry(undefined),
  from: "local",
  to: "staging",
  push: true,
  ...more,
});
const message = (): Promise<string> => clone.git.run("log", "-1", "--format=%B");

describe("a promotion", () => {
  test("copies the tag and nothing else, builds nothing, and says what it did", async () => {
    const tag = await clone.change("second\n");
    const source = await clone.git.run("rev-parse", "HEAD");
    await release(clone.options({ push: true }));
    const built = shop.built();
    const before = await Promise.all(
      [overlay("staging"), overlay("production"), example].map(shop.remote, shop),
    );
    const { outcome } = await promote(options());
    expect(outcome).toBe("pushed");
    const [staging = "", ...others] = before;
    expect(await shop.remote(overlay("staging"))).toBe(staging.replace(first, tag));
    expect(await Promise.all([overlay("production"), example].map(shop.remote, shop))).toEqual(others);
    expect(shop.built()).toEqual(built);
    expect(await message()).toBe(
      `deploy(cart): promote ${tag} from local to staging\n\nImage: registry.example/shop/cart:${tag}\nSource-Commit: ${source}\nPromoted-From: local\nEnvironment: staging\n`,
    );
    expect(await promote(options())).toMatchObject({ outcome: "unchanged" });
    const on = await promote(options({ from: "staging", to: "production" }));
    expect(on.message).toBe(`deploy(cart): promote ${tag} from staging to production`);
  });

  test("goes on top of what others pushed meanwhile, with the tag of then", slow, async () => {
    const other = await shop.clone("other");
    const tag = await other.change("theirs\n");
    await release(other.options({ push: true }));
    expect((await promote(options())).message).toContain(tag);
    expect(await shop.remote(overlay("staging"))).toContain(`newTag: "${tag}"`);
  });

  test("refuses a downgrade, unless it is meant", slow, async () => {
    await clone.change("second\n");
    await release(clone.options({ push: true }));
    await promote(options());
    const back = options({ from: "production", to: "staging" });
    await expect(promote(back)).rejects.toThrow("this would be a downgrade");
    expect((await promote({ ...back, force: true })).message).toContain(`promote ${first} from production`);
  });

  test("refuses what was rolled back there, unless it is meant", slow, async () => {
    const tag = await clone.change("second\n");
    await release(clone.options({ push: true }));
    await promote(options());
    const staging = clone.options({ push: true, environment: "staging" });
    expect((await rollback(staging)).message).toBe(`deploy(cart): ${first}`);
    expect(await message()).toContain(`Rolled-Back: ${tag}\nEnvironment: staging`);
    expect(await shop.remote(kustomization)).toContain(tag);
    // What happens to one environment says nothing about the other.
    expect(await lastRolledBack(clone.directory, "cart")).toBeUndefined();
    expect(await lastRolledBack(clone.directory, "cart", "staging")).toBe(tag);
    await expect(promote(options())).rejects.toThrow(`${tag} was rolled back in staging`);
    expect((await promote(options({ force: true }))).outcome).toBe("pushed");
  });

  test("asks the registry that it is given for the image", slow, async () => {
    const tag = await clone.change("second\n");
    await release(clone.options({ push: true }));
    const asked: string[] = [];
    let status = 404;
    const server: Server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.writeHead(status).end();
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    try {
      const registry = parseRegistry(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
      await expect(promote(options({ registry }))).rejects.toThrow("is not there");
      status = 200;
      expect((await promote(options({ registry }))).outcome).toBe("pushed");
      const url = `HEAD /v2/registry.example/shop/cart/manifests/${tag}`;
      expect(asked).toEqual([url, url]);
    } finally {
      server.close();
    }
  });

  test("names the environments where it is told one that does not exist", async () => {
    await expect(promote(options({ to: "stagin" }))).rejects.toMatchObject({
      message: "no overlay stagin under gitops has an images entry for cart",
      next: "name one of local, production, staging",
    });
  });

  test("whose result is not valid is not committed", slow, async () => {
    await clone.change("second\n");
    await release(clone.options({ push: true }));
    const check = async (): Promise<void> => {
      throw new Error("not valid");
    };
    await expect(promote(options({ check }))).rejects.toThrow("not valid");
    expect(await shop.remote(overlay("staging"))).toContain(first);
  });
});

describe("an environment", () => {
  test("that is not local is released to without a change of local and of the examples", slow, async () => {
    const tag = await clone.change("second\n");
    const before = await shop.remote(kustomization);
    await release(clone.options({ push: true, environment: "staging" }));
    expect(await shop.remote(overlay("staging"))).toContain(`newTag: "${tag}"`);
    expect(await shop.remote(kustomization)).toBe(before);
    expect(await shop.remote(example)).toContain(first);
    expect(await message()).toMatch(/^Environment: staging$/m);
  });

  test("has a share of its own", slow, async () => {
    const { message: said } = await setFault(0, clone.options({ push: true, environment: "staging" }));
    expect(said).toBe("fault(app): delay 0 % of POST /log in staging");
    expect(await shop.remote(fault)).toBe("DELAY_PERCENT=0");
    expect(await shop.remote("gitops/apps/logging/base/mesh/fault.env")).toContain("DELAY_PERCENT=10");
    await expect(setFault(0, clone.options({ environment: "stagin" }))).rejects.toThrow(
      "there is no gitops/apps/logging/overlays/stagin/fault.env",
    );
  });
});

describe("on the command line", () => {
  const gitops = async (...args: string[]) =>
    execa("node", [await bundle(join(checkout, "tools/src/cli.ts")), ...args], {
      reject: false,
      env: { REGISTRY: "" },
    });
  const inClone = (): string[] => ["--directory", clone.directory, "--remote", "origin", "--no-validate"];

  test("--promote takes every service that has an image", slow, async () => {
    const tag = await clone.change("second\n");
    await release(clone.options({ push: true }));
    const { exitCode, stdout, stderr } = await gitops(
      "release",
      "--promote",
      "staging",
      "--push",
      ...inClone(),
    );
    expect(exitCode, stderr).toBe(0);
    expect(stdout).toContain(`deploy(cart): promote ${tag} from local to staging (pushed as `);
  });

  const refused: [string[], string][] = [
    [["release"], "release needs a service"],
    [["release", "cart", "--from", "staging"], "--from belongs to --promote"],
    [["release", "--promote", "local"], "--promote local needs another environment: name it with --from"],
    [["release", "--promote", "staging", "--environment", "staging"], "leave --environment out"],
  ];
  sweep(refused, 2)("%j is refused", async (args, said) => {
    const { exitCode, stderr } = await gitops(...args, ...inClone());
    expect(exitCode).toBe(2);
    expect(stderr).toContain(said);
  });
});
