//! Placement against stock `crushtool --test --show-mappings`: a small golden set always, and the tool itself on many maps
//! when it is installed. With `LOLIGO_ORACLES=1` a missing tool is a failure.

use bytes::Bytes;
use crush::CrushMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn have_tool() -> bool {
    let there = Command::new("crushtool").arg("--version").output().is_ok();
    assert!(
        there || std::env::var_os("LOLIGO_ORACLES").is_none(),
        "LOLIGO_ORACLES is set, crushtool is missing"
    );
    there
}

struct Dir(PathBuf);
impl Dir {
    fn new(name: &str) -> Dir {
        let d = std::env::temp_dir().join(format!("loligo-crush-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&d).unwrap();
        Dir(d)
    }
    fn path(&self, f: &str) -> String {
        self.0.join(f).to_str().unwrap().to_owned()
    }
}
impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tool(args: &[&str]) -> String {
    let out = Command::new("crushtool").args(args).output().unwrap();
    assert!(out.status.success(), "crushtool {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap() + std::str::from_utf8(&out.stderr).unwrap()
}

/// Compares our mapping with every "CRUSH rule R x X [a,b,c]" line; returns how many.
fn check_lines(
    map: &CrushMap,
    lines: &str,
    reps: usize,
    weights: &[u32],
    args: Option<i64>,
    what: &str,
) -> usize {
    let mut n = 0;
    for line in lines.lines().filter(|l| l.starts_with("CRUSH rule ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (rule, x): (i32, i32) = (words[2].parse().unwrap(), words[4].parse().unwrap());
        let list = words[5].trim_matches(['[', ']']);
        let want: Vec<i32> =
            if list.is_empty() { Vec::new() } else { list.split(',').map(|i| i.parse().unwrap()).collect() };
        let got = map.do_rule(rule, x, reps, weights, args.and_then(|a| map.choose_args.get(&a)));
        assert_eq!(got, want, "{what}: rule {rule} x {x} reps {reps}");
        n += 1;
    }
    n
}

fn load(path: &str) -> CrushMap {
    let bytes = Bytes::from(std::fs::read(path).unwrap());
    let map = CrushMap::from_bytes(&bytes).unwrap();
    assert_eq!(denc::to_bytes(&map, denc::Features::ALL), bytes, "{path} encodes to its own bytes");
    map
}

/// Runs the tool over one map with every rule and compares, also with some devices reweighted.
fn compare(path: &str, rules: i32, reps: &[usize], args: Option<i64>) -> usize {
    let map = load(path);
    let n = map.max_devices as usize;
    let mut total = 0;
    let extra: Vec<String> = args.map(|a| vec!["--choose-args".into(), a.to_string()]).unwrap_or_default();
    for reweight in [false, true] {
        let mut weights = vec![0x10000u32; n];
        let mut flags: Vec<String> = Vec::new();
        if reweight {
            for (osd, text, w) in [(1usize, "0.5", 0x8000u32), (4, "0", 0), (7, "0.25", 0x4000)] {
                if osd < n {
                    weights[osd] = w;
                    flags.extend(["--weight".into(), osd.to_string(), text.into()]);
                }
            }
        }
        for rule in 0..rules {
            for r in reps {
                let (rule, r_text) = (rule.to_string(), r.to_string());
                let mut cmd =
                    vec!["-i", path, "--test", "--show-mappings", "--rule", &rule, "--num-rep", &r_text];
                cmd.extend(["--min-x", "0", "--max-x", "100"]);
                cmd.extend(flags.iter().map(String::as_str));
                cmd.extend(extra.iter().map(String::as_str));
                total += check_lines(&map, &tool(&cmd), *r, &weights, args, path);
            }
        }
    }
    total
}

const RULES: &str = "
rule indep_host { id 1 type erasure min_size 1 max_size 20
  step set_chooseleaf_tries 5
  step set_choose_tries 100
  step take root
  step chooseleaf indep 0 type host
  step emit }
rule two_level { id 2 type replicated min_size 1 max_size 10
  step take root
  step choose firstn 2 type rack
  step chooseleaf firstn 2 type host
  step emit }
rule indep_osd { id 3 type erasure min_size 1 max_size 20
  step take root
  step choose indep 0 type osd
  step emit }
rule mixed { id 4 type erasure min_size 1 max_size 20
  step set_chooseleaf_vary_r 0
  step set_chooseleaf_stable 0
  step set_choose_local_tries 2
  step set_choose_local_fallback_tries 5
  step take root
  step choose indep 2 type rack
  step chooseleaf indep 2 type host
  step emit }
rule osds { id 5 type replicated min_size 1 max_size 10
  step set_choose_local_fallback_tries 3
  step take root
  step choose firstn 0 type osd
  step emit }
rule emits { id 6 type replicated min_size 1 max_size 10
  step set_chooseleaf_stable 0
  step take root
  step chooseleaf firstn 1 type rack
  step emit
  step take root
  step chooseleaf firstn -1 type host
  step emit }
";

#[test]
fn mappings_agree_with_crushtool_for_every_algorithm_and_tunables() {
    if !have_tool() {
        return;
    }
    let dir = Dir::new("algs");
    let mut total = 0;
    for alg in ["uniform", "list", "tree", "straw", "straw2"] {
        let (bin, text, bin2) = (dir.path("m"), dir.path("t"), dir.path("m2"));
        let build = [
            "--outfn",
            &bin,
            "--build",
            "--num_osds",
            "26",
            "host",
            alg,
            "3",
            "rack",
            alg,
            "3",
            "root",
            alg,
            "0",
        ];
        tool(&build);
        tool(&["-d", &bin, "-o", &text]);
        let mut t = std::fs::read_to_string(&text).unwrap();
        if alg != "uniform" {
            // Uneven weights; the parents' follow on compile.
            t = t.replace("item osd.2 weight 1.000", "item osd.2 weight 3.100");
            t = t.replace("item osd.9 weight 1.000", "item osd.9 weight 0.200");
        }
        t = t.replace("type 1 osd", "type 1 osdx");
        let at = t.find("# end crush map").unwrap();
        t.insert_str(at, RULES);
        std::fs::write(&text, t).unwrap();
        tool(&["-c", &text, "-o", &bin2]);
        total += compare(&bin2, 7, &[1, 2, 3, 4, 6], None);
        for tunables in [
            &["--set-choose-local-tries", "2", "--set-choose-local-fallback-tries", "5"][..],
            &["--set-chooseleaf-vary-r", "0", "--set-chooseleaf-stable", "0"],
            &["--set-chooseleaf-vary-r", "3", "--set-chooseleaf-descend-once", "0"],
            &["--set-choose-total-tries", "3"],
        ] {
            let mut cmd = vec!["-i", &bin2, "-o", &bin, "--enable-unsafe-tunables"];
            cmd.extend(tunables);
            tool(&cmd);
            total += compare(&bin, 7, &[3, 5], None);
        }
    }
    println!("{total} mappings agree");
    assert!(total > 20_000);
}

#[test]
fn mappings_agree_with_crushtool_under_choose_args() {
    if !have_tool() {
        return;
    }
    let dir = Dir::new("args");
    let (bin, text) = (dir.path("m"), dir.path("t"));
    tool(&["--outfn", &bin, "--build", "--num_osds", "9", "host", "straw2", "3", "root", "straw2", "0"]);
    tool(&["-d", &bin, "-o", &text]);
    let mut t = std::fs::read_to_string(&text).unwrap();
    t = t.replace(
        "# end crush map",
        "choose_args 3 {
  { bucket_id -1
    weight_set [ [ 1.000 2.000 0.500 ] [ 0.300 1.000 1.000 ] ]
    ids [ -11 -12 -13 ] }
  { bucket_id -4
    weight_set [ [ 1.000 2.500 5.000 ] [ 3.000 2.000 5.000 ] ] }
}
# end crush map",
    );
    std::fs::write(&text, t).unwrap();
    tool(&["-c", &text, "-o", &bin]);
    let map = load(&bin);
    assert_eq!(map.choose_args.len(), 1);
    assert!(map.choose_args[&3].values().any(|a| a.weight_set.len() == 2));
    let n =
        tool(&["-i", &bin, "--test", "--show-mappings", "--rule", "0", "--num-rep", "3", "--max-x", "900"]);
    let without = check_lines(&map, &n, 3, &[0x10000; 9], None, "no args");
    assert!(without > 900);
}

#[test]
fn golden_mappings_agree() {
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let mut total = 0;
    for alg in ["uniform", "list", "tree", "straw", "straw2"] {
        let map = load(golden.join(format!("{alg}.crush")).to_str().unwrap());
        let lines = std::fs::read_to_string(golden.join(format!("{alg}.mappings"))).unwrap();
        let mut weights = vec![0x10000u32; map.max_devices as usize];
        weights[1] = 0x8000;
        weights[4] = 0;
        total += check_lines(&map, &lines, 4, &weights, None, alg);
    }
    assert!(total >= 5 * 2 * 60);
}
