//! Clusters formed by brokers in threads of this process, over loopback; and every verdict alone.

mod port;

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::thread::JoinHandle;

use tempfile::TempDir;
use tokio::sync::watch;

use self::port::NodePort;
use super::asking::{Answer, AskError};
use super::*;
use crate::node_rpc::handshake::{HandshakeError, Welcome, greet};

/// A machine with a directory and a port that stays its own whether a broker runs on it or not.
struct Host {
    config: BrokerConfig,
    listener: TcpListener,
    dir: TempDir,
}

/// Machines that are each other's seeds, with these ids.
fn hosts(ids: &[i32]) -> Vec<Host> {
    let mut hosts: Vec<Host> = ids.iter().map(|id| Host::new(*id)).collect();
    let seeds: Vec<HostPort> = hosts.iter().map(|host| host.address().into()).collect();
    for host in &mut hosts {
        host.config.seeds.clone_from(&seeds);
    }
    hosts
}

impl Host {
    fn new(node_id: i32) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = BrokerConfig {
            node_id,
            node_listen: Some(local),
            data_dir: dir.path().to_owned(),
            ..BrokerConfig::default()
        };
        let listener = bind(&config).expect("loopback").expect("node.listen is set");
        Self { config, listener, dir }
    }

    fn joining(node_id: i32, member: &Host) -> Self {
        let mut host = Self::new(node_id);
        host.config.join = vec![member.address().into()];
        host
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it is bound")
    }

    fn data_dir(&self) -> DataDir {
        let (path, node) = (&self.config.data_dir, self.config.node_id);
        DataDir::open(path, node, Uuid::new_v4()).expect("a directory")
    }

    /// Forms, and then is as good as dead.
    fn form(&self) -> Result<Formed, FormError> {
        let listener = self.listener.try_clone().expect("a descriptor");
        form(&self.config, &mut self.data_dir(), Some(listener))
    }

    /// Forms in the background, and answers the others from then on.
    fn start(&self) -> Running {
        let (config, mut data_dir) = (self.config.clone(), self.data_dir());
        let listener = self.listener.try_clone().expect("a descriptor");
        let (stop, stopping) = watch::channel(false);
        let thread = std::thread::spawn(move || {
            let mut formed = form(&config, &mut data_dir, Some(listener))?;
            let member = formed.member.clone();
            let port = NodePort::start(&mut formed, |_node| None, stopping).expect("a thread");
            Ok(RunningMember { member, port, _data_dir: data_dir })
        });
        Running { thread, stop }
    }

    /// Waits until a broker answers here, as one that belongs to no cluster.
    fn wait_until_it_answers(&self) {
        let hello = Hello {
            version: VERSION,
            purpose: Purpose::Form,
            cluster_id: None,
            node: 99,
            disk: Uuid::new_v4(),
            address: "127.0.0.1:1".to_owned(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let stream = tokio::net::TcpStream::connect(self.address()).await;
            let welcome = greet(&mut stream.expect("the port is open"), &hello).await;
            assert_eq!(welcome.expect("an answer").cluster_id, None);
        });
    }
}

struct Running {
    thread: JoinHandle<Result<RunningMember, FormError>>,
    stop: watch::Sender<bool>,
}

struct RunningMember {
    member: Member,
    port: Option<NodePort>,
    _data_dir: DataDir,
}

/// What each found, once all have found something; then all are stopped.
fn finish(running: Vec<Running>) -> Vec<Result<Member, FormError>> {
    let (threads, stops): (Vec<_>, Vec<_>) =
        running.into_iter().map(|it| (it.thread, it.stop)).unzip();
    let found: Vec<_> =
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    for stop in stops {
        stop.send_replace(true);
    }
    let stopped = found.into_iter().map(|found| {
        let RunningMember { member, port, .. } = found?;
        port.expect("it listens").join();
        Ok(member)
    });
    stopped.collect()
}

fn ids(voters: &[Founder]) -> Vec<i32> {
    voters.iter().map(|founder| founder.node).collect()
}

#[test]
fn three_directories_become_one_cluster_in_any_order_of_start() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let hosts = hosts(&[1, 2, 3]);
        let mut running = Vec::new();
        for (nth, index) in order.into_iter().enumerate() {
            running.push(hosts[index].start());
            if nth < 2 {
                hosts[index].wait_until_it_answers();
            }
        }
        let members = finish(running).into_iter().map(|it| it.expect("a cluster"));
        let members: Vec<Member> = members.collect();
        assert_eq!(members[0].cluster_id.len(), 22);
        for member in &members {
            assert_eq!(member.cluster_id, members[0].cluster_id, "{order:?}");
            assert_eq!(member.voters, members[0].voters, "{order:?}");
        }
        assert_eq!(ids(&members[0].voters), [1, 2, 3]);
        for (founder, host) in members[0].voters.iter().zip(&hosts) {
            assert_eq!(founder.address, host.address().to_string());
            assert_eq!(founder.disk, host.data_dir().directory_id());
            let again = host.form().expect("it needs nobody any more").member;
            assert_eq!(
                (&again.cluster_id, &again.voters),
                (&members[0].cluster_id, &members[0].voters)
            );
        }
    }
}

#[test]
fn a_decision_outlives_a_crash_before_anybody_else_knows_it() {
    let hosts = hosts(&[7, 3, 5]);
    let others = vec![hosts[0].start(), hosts[2].start()];
    let decided = hosts[1].form().expect("everybody is here").member;
    // It decided and died; nobody else can know.
    assert!(others.iter().all(|other| !other.thread.is_finished()));
    let mut all = others;
    all.push(hosts[1].start());
    for member in finish(all) {
        let member = member.expect("they find the decision");
        assert_eq!(member.cluster_id, decided.cluster_id);
        assert_eq!(ids(&member.voters), [3, 5, 7]);
    }
}

#[test]
fn a_founder_with_an_empty_directory_is_refused() {
    let mut hosts = hosts(&[1, 2]);
    finish(hosts.iter().map(Host::start).collect());
    let first = hosts[0].start();
    hosts[1].dir = tempfile::tempdir().expect("a directory");
    hosts[1].config.data_dir = hosts[1].dir.path().to_owned();
    let error = hosts[1].form().expect_err("not the disk that was").to_string();
    assert!(error.contains("the data directory of node 2 was replaced"), "{error}");
    assert!(error.contains("--join") && error.contains("thalweg cluster remove 2"), "{error}");
    assert_eq!(hosts[1].data_dir().cluster_id(), None);
    finish(vec![first]);
}

#[test]
fn two_founders_with_one_id_both_say_so() {
    let hosts = hosts(&[1, 1]);
    for (found, other) in finish(hosts.iter().map(Host::start).collect()).iter().zip([1, 0]) {
        let error = found.as_ref().expect_err("one id for two").to_string();
        assert!(error.contains("give one of them another --node-id"), "{error}");
        assert!(error.contains(&hosts[other].address().to_string()), "{error}");
    }
    for host in &hosts {
        assert_eq!(host.data_dir().cluster_id(), None);
    }
}

#[test]
fn a_broker_joins_a_cluster_with_an_id_of_its_own() {
    let member = Host::new(1);
    let newcomer = Host::joining(2, &member);
    let waiting = newcomer.start();
    newcomer.wait_until_it_answers();
    let running = vec![member.start(), waiting];
    let found: Vec<_> = finish(running).into_iter().map(|it| it.expect("a cluster")).collect();
    assert_eq!(found[0].cluster_id, found[1].cluster_id);
    assert_eq!((ids(&found[0].voters), ids(&found[1].voters)), (vec![1], vec![1]));

    let running = member.start();
    let error = Host::joining(1, &member).form().expect_err("the id is taken").to_string();
    assert!(error.contains("node 1 is also the broker at"), "{error}");
    finish(vec![running]);

    // A broker that did not found the cluster needs the others and has to be reachable.
    let error = form(&newcomer.config, &mut newcomer.data_dir(), None).expect_err("no port");
    assert!(matches!(error, FormError::NotListening { node: 2 }), "{error}");
}

#[test]
fn a_broker_alone_founds_its_cluster_at_once_and_keeps_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = BrokerConfig { data_dir: dir.path().to_owned(), ..BrokerConfig::default() };
    let open = || DataDir::open(dir.path(), 1, Uuid::new_v4()).expect("a directory");
    let formed = form(&config, &mut open(), None).expect("it asks nobody");
    assert_eq!((formed.node_address(), ids(formed.controller_voters())), (None, vec![1]));
    let again = form(&config, &mut open(), None).expect("it asks nobody");
    assert_eq!(again.member, formed.member);
}

fn newcomer(node: i32, seeds: &str, own: &str) -> Newcomer {
    let seeds: Vec<HostPort> = seeds.split(',').map(|it| it.parse().expect("an address")).collect();
    let others = seeds.iter().filter(|seed| seed.to_string() != own).cloned().collect();
    let disk = Uuid::from_u128(u128::from(node.unsigned_abs()));
    Newcomer { node, disk, address: own.to_owned(), seeds, others }
}

fn at(address: &str) -> HostPort {
    address.parse().expect("an address")
}

fn fresh(address: &str, node: i32, seeds: &str) -> Answer {
    let welcome = Welcome {
        version: VERSION,
        node,
        disk: Uuid::from_u128(u128::from(node.unsigned_abs())),
        cluster_id: None,
        voters: Vec::new(),
        seeds: seeds.split(',').map(str::to_owned).collect(),
    };
    (at(address), Ok(welcome))
}

fn member(address: &str, node: i32, founders: &[(i32, u128)]) -> Answer {
    let founder = |(node, disk): &(i32, u128)| Founder {
        node: *node,
        disk: Uuid::from_u128(*disk),
        address: format!("n{node}:1"),
    };
    let (address, welcome) = fresh(address, node, "");
    let voters = founders.iter().map(founder).collect();
    let cluster_id = Some("it".to_owned());
    (address, welcome.map(|welcome| Welcome { cluster_id, voters, ..welcome }))
}

fn silent(address: &str) -> Answer {
    (at(address), Err(AskError::Connect(Error::from(ErrorKind::ConnectionRefused))))
}

fn refusing(address: &str, reason: &str) -> Answer {
    (at(address), Err(HandshakeError::Refused(reason.to_owned()).into()))
}

const SEEDS: &str = "a:1,b:1,c:1";

#[test]
fn only_the_lowest_decides_and_only_when_all_are_there() {
    let lowest = newcomer(1, SEEDS, "a:1");
    let all = [fresh("b:1", 3, "c:1,a:1,B:1"), fresh("c:1", 2, SEEDS)];
    let Ok(Verdict::Found { voters }) = judge(&lowest, &all) else { panic!("it decides") };
    let addresses: Vec<_> = voters.iter().map(|founder| founder.address.as_str()).collect();
    assert_eq!((ids(&voters), addresses), (vec![1, 2, 3], vec!["a:1", "c:1", "b:1"]));

    let waits = |own: &Newcomer, answers: &[Answer], part: &str| match judge(own, answers) {
        Ok(Verdict::Wait { for_whom }) => {
            let told = for_whom.join("; ");
            assert!(told.contains(part), "{told}");
        }
        other => panic!("{part}: {other:?}"),
    };
    waits(&lowest, &[fresh("b:1", 3, SEEDS), silent("c:1")], "c:1 (connection refused)");
    let higher = newcomer(4, SEEDS, "a:1");
    waits(&higher, &all, "c:1 (node 2, the lowest, forms the cluster)");
    let fewer = [fresh("b:1", 3, "a:1,b:1"), fresh("c:1", 2, SEEDS)];
    waits(&lowest, &fewer, "b:1 (it was given other seeds: a:1,b:1)");
    let twins = [fresh("b:1", 2, SEEDS), fresh("c:1", 2, SEEDS)];
    waits(&lowest, &twins, "c:1 (it is node 2, and so is the broker at b:1)");
}

#[test]
fn what_time_does_not_mend_is_an_error() {
    let own = newcomer(1, SEEDS, "a:1");
    let fails = |answers: &[Answer], part: &str| {
        let error = judge(&own, answers).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    };
    fails(&[refusing("b:1", "because"), silent("c:1")], "b:1 refuses this one: because");
    fails(&[silent("b:1"), member("c:1", 2, &[(2, 2)])], "start this broker with --join c:1");
    fails(&[member("b:1", 2, &[(1, 9), (2, 2)])], "node 1 was replaced");
    let (address, myself) = fresh("b:1", 1, SEEDS);
    fails(&[(address.clone(), myself)], "leads to this broker itself");
    let (_, twin) = fresh("b:1", 1, SEEDS);
    let twin = twin.map(|twin| Welcome { disk: Uuid::from_u128(9), ..twin });
    fails(&[(address, twin)], "node 1 is also the broker at b:1");
}

#[test]
fn a_cluster_that_is_there_counts_before_a_refusal_by_another() {
    let own = newcomer(2, SEEDS, "a:1");
    let answers = [refusing("b:1", "no"), member("c:1", 1, &[(1, 1), (2, 2)])];
    let verdict = judge(&own, &answers).expect("it is a founder");
    assert!(matches!(verdict, Verdict::Adopt { cluster_id, .. } if cluster_id == "it"));
}

#[test]
fn a_member_refuses_whom_the_cluster_knows_otherwise() {
    let voters = vec![Founder { node: 1, disk: Uuid::from_u128(1), address: "a:1".to_owned() }];
    let own = Member { node: 1, disk: voters[0].disk, cluster_id: "it".to_owned(), voters };
    let hello = |node, disk, cluster_id: Option<&str>| Hello {
        version: VERSION,
        purpose: Purpose::Form,
        cluster_id: cluster_id.map(str::to_owned),
        node,
        disk: Uuid::from_u128(disk),
        address: "b:1".to_owned(),
    };
    let known = Some(Uuid::from_u128(4));
    for (caller, known, part) in [
        (hello(4, 5, None), known, "the data directory of node 4 was replaced"),
        (hello(1, 5, None), None, "node 1 is also the broker at a:1"),
        (hello(4, 4, Some("other")), known, "this broker belongs to cluster it"),
    ] {
        let reason = answer_form(&own, &caller, known).expect_err(part);
        assert!(reason.contains(part), "{reason}");
    }
    for caller in [hello(4, 4, None), hello(4, 4, Some("it"))] {
        let welcome = answer_form(&own, &caller, known).expect("its own disk");
        assert_eq!(welcome.cluster_id.as_deref(), Some("it"));
    }
    answer_form(&own, &hello(5, 5, None), None).expect("nobody knows it yet");
}
