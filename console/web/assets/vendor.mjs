// Makes ../static/vendor from the packages in package.json: `npm ci && npm run vendor`. The result is committed, so that
// nobody who installs Mailroom needs Node, and no page loads anything from elsewhere.
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import postcss from "postcss";
import { PurgeCSS } from "purgecss";

const target = new URL("../static/vendor/", import.meta.url);
const packages = new URL("./node_modules/", import.meta.url);
const read = (path) => readFile(new URL(path, packages), "utf8");

// Tabler switches to its dark colours by an attribute that a script sets. Without a script the media query does it.
const darkByPreference = {
  postcssPlugin: "dark-by-preference",
  Once(root, { AtRule }) {
    root.walkRules(/\[data-bs-theme=.?dark.?\]/, (rule) => {
      if (rule.parent.type === "atrule" && rule.parent.name === "keyframes") return;
      const media = new AtRule({ name: "media", params: "(prefers-color-scheme: dark)" });
      const selector = rule.selector
        .replace(/(html|body|:root)?\[data-bs-theme=.?dark.?\]/g, ":root")
        .replace(/:root :root/g, ":root");
      media.append(rule.clone({ selector }));
      rule.replaceWith(media);
    });
    root.walkRules(/\[data-bs-theme=.?light.?\]/, (rule) => {
      rule.selector = rule.selector.replace(/,?\[data-bs-theme=.?light.?\]/g, "") || ":root";
    });
  },
};

async function css(path) {
  const [purged] = await new PurgeCSS().purge({
    content: ["../templates/**/*.html", "../pages/*.py", "../static/*.js"],
    css: [{ raw: await read(path) }],
    fontFace: true,
    keyframes: true,
    variables: false,
    safelist: { standard: [":root", "html", "body"], greedy: [/data-bs-theme/] },
  });
  return postcss([darkByPreference]).process(purged.css.replace(/\/\*# sourceMappingURL=.*?\*\//g, ""), { from: undefined }).css;
}

// Tabler's package names its licence, MIT, and its authors at the top of its CSS only.
async function licence(name) {
  if (name !== "@tabler/core") return read(`${name}/LICENSE`);
  const [, authors] = (await read("@tabler/core/dist/css/tabler.css")).match(/\* (Copyright [^\n]*\n[^\n]*Copyright [^\n]*)/);
  const mit = await read("uplot/LICENSE");
  return mit.replace(/^.*Copyright.*$/m, authors.replace(/^ \* /gm, ""));
}

async function put(name, text) {
  await writeFile(new URL(name, target), text.trimEnd() + "\n");
}

await rm(target, { recursive: true, force: true });
await mkdir(target, { recursive: true });
await put("tabler.css", await css("@tabler/core/dist/css/tabler.min.css"));
await put("uplot.css", await read("uplot/dist/uPlot.min.css"));
await put("uplot.js", await read("uplot/dist/uPlot.iife.min.js"));
await put("htmx.js", await read("htmx.org/dist/htmx.min.js"));
await put("relative-time.js", await read("@github/relative-time-element/dist/bundle.js"));
const { dependencies } = JSON.parse(await readFile(new URL("package.json", import.meta.url), "utf8"));
for (const [name, version] of Object.entries(dependencies)) {
  await put(`LICENSE.${name.replace(/^@/, "").replace("/", "-")}.txt`, `${name} ${version}\n\n${await licence(name)}`);
}
