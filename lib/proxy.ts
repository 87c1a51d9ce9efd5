/** Requests that leave the machine: through the proxy that the environment names, as curl, Go, Git and npm send theirs. */

// Some shells have a variable in small letters, some in capitals.
const setting = (name: string): string | undefined =>
  process.env[name] || process.env[name.toUpperCase()] || undefined;

/** `fetch`, which by itself knows of no proxy; NO_PROXY is obeyed. */
export async function fetchThroughProxy(url: string, options: RequestInit): Promise<Response> {
  const scheme = new URL(url).protocol.slice(0, -1);
  const proxy = setting(`${scheme}_proxy`) ?? setting("all_proxy");
  if (!proxy) return fetch(url, options);
  const undici = await import("undici");
  // A tunnel for https only: to other ports than 443 proxies do not give one.
  const settings = {
    httpProxy: proxy,
    httpsProxy: proxy,
    noProxy: setting("no_proxy") ?? "",
    proxyTunnel: false,
  };
  const dispatcher = new undici.EnvHttpProxyAgent(settings);
  // Its types are those of the package, which say the same of Node's own.
  const request = { ...options, dispatcher } as import("undici").RequestInit;
  return (await undici.fetch(url, request)) as unknown as Response;
}
