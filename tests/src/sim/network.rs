//! The network between simulated hosts: who can reach whom, and how long it takes.
//!
//! It behaves like TCP seen from above. Bytes of a connection arrive in order or not at all; what
//! is lost on the way is only late. A link that is cut, in one direction or both, holds everything
//! back until it is mended. A process that dies closes its connections; a machine that loses its
//! power says nothing, and resets them when it is asked after it came back.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use thalweg::embedded::{BoxedStream, Call, Connecting, Listener, Network};
use tokio::time::sleep;

use super::dice::Dice;
use super::stream::{Connection, SimStream};
use super::toll::Misfortune;
use super::trace::Trace;

/// A machine on the network: brokers by their ids, clients from 100 on.
pub type Host = u8;

/// Where brokers listen for clients.
pub const CLIENT_PORT: u16 = 9092;
/// Where brokers listen for each other.
pub const NODE_PORT: u16 = 9192;

/// How often a host that does not answer is tried again.
const SYN_AGAIN: Duration = Duration::from_millis(200);

/// A host's address.
pub fn address(host: Host, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)), port)
}

fn host_of(address: &str) -> io::Result<(Host, u16)> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    match address.ip() {
        IpAddr::V4(ip) => Ok((ip.octets()[3], address.port())),
        IpAddr::V6(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

/// The network of one run.
pub struct Net {
    pub(super) trace: Rc<Trace>,
    state: RefCell<State>,
    dice: Dice,
}

#[derive(Default)]
struct State {
    listeners: BTreeMap<(Host, u16), Rc<RefCell<Queue>>>,
    connections: Vec<Weak<RefCell<Connection>>>,
    /// Pairs (from, to) over which nothing comes.
    cut: BTreeSet<(Host, Host)>,
    /// Pairs whose every packet takes longer, in milliseconds.
    slow: BTreeMap<(Host, Host), u64>,
    dark: BTreeSet<Host>,
    ports: u16,
}

/// Calls that were not taken yet.
#[derive(Default)]
struct Queue {
    calls: VecDeque<(SimStream, SocketAddr)>,
    waker: Option<Waker>,
}

impl Net {
    /// A network on which everybody reaches everybody.
    pub fn new(trace: Rc<Trace>, dice: Dice) -> Rc<Net> {
        Rc::new(Net { trace, state: RefCell::default(), dice })
    }

    /// Whether bytes from one host reach the other now.
    pub(super) fn is_cut(&self, from: Host, to: Host) -> bool {
        self.state.borrow().cut.contains(&(from, to))
    }

    /// How long the next packet takes.
    pub(super) fn latency(&self, from: Host, to: Host) -> Duration {
        let slow = self.state.borrow().slow.get(&(from, to)).copied().unwrap_or(0);
        let usual = match self.dice.below(200) {
            0 => {
                // Lost, and sent again.
                self.trace.struck(Misfortune::Loss);
                self.dice.millis(200, 400)
            }
            1..10 => self.dice.millis(5, 20),
            _ => self.dice.millis(1, 3),
        };
        if slow == 0 {
            return usual;
        }
        self.trace.struck(Misfortune::Delay);
        usual + Duration::from_millis(self.dice.below(slow))
    }

    /// Cuts the way from one host to another.
    pub fn cut(&self, from: Host, to: Host) {
        self.state.borrow_mut().cut.insert((from, to));
    }

    /// Mends that way.
    pub fn mend(&self, from: Host, to: Host) {
        self.state.borrow_mut().cut.remove(&(from, to));
        for connection in self.connections() {
            connection.borrow_mut().wake_readers();
        }
    }

    /// Makes every packet from one host to another take up to so much longer.
    pub fn slow_down(&self, from: Host, to: Host, ms: u64) {
        self.state.borrow_mut().slow.insert((from, to), ms);
    }

    /// Everybody reaches everybody again.
    pub fn heal(&self) {
        let connections = {
            let mut state = self.state.borrow_mut();
            state.cut.clear();
            state.slow.clear();
            state.connections.retain(|connection| connection.strong_count() > 0);
            state.connections.clone()
        };
        for connection in connections.iter().filter_map(Weak::upgrade) {
            connection.borrow_mut().wake_readers();
        }
    }

    /// Breaks the connections between two hosts, as a middlebox does.
    pub fn reset(&self, a: Host, b: Host) {
        for connection in self.connections() {
            let mut connection = connection.borrow_mut();
            if connection.joins(a, b) {
                self.trace.struck(Misfortune::Reset);
                connection.break_off();
            }
        }
    }

    fn connections(&self) -> Vec<Rc<RefCell<Connection>>> {
        self.state.borrow().connections.iter().filter_map(Weak::upgrade).collect()
    }

    /// The host's power is gone: its connections end without a word.
    pub fn darken(&self, host: Host) {
        self.state.borrow_mut().dark.insert(host);
        for connection in self.connections() {
            connection.borrow_mut().sever(host);
        }
    }

    /// The host has power again, and knows nothing of its former connections.
    pub fn lighten(&self, host: Host) {
        self.state.borrow_mut().dark.remove(&host);
        for connection in self.connections() {
            connection.borrow_mut().refuse(host);
        }
    }

    /// A port to be called at, for as long as the listener lives.
    pub fn listen(self: &Rc<Self>, host: Host, port: u16) -> Box<dyn Listener> {
        let queue = Rc::<RefCell<Queue>>::default();
        self.state.borrow_mut().listeners.insert((host, port), Rc::clone(&queue));
        Box::new(Bound { net: Rc::clone(self), at: (host, port), queue })
    }

    /// Calls a host. Without an answer this never ends.
    pub async fn call(self: &Rc<Self>, from: Host, to: &str) -> io::Result<SimStream> {
        let (to, port) = host_of(to)?;
        sleep(self.latency(from, to)).await;
        loop {
            let reached = {
                let state = self.state.borrow();
                !state.dark.contains(&to)
                    && !state.cut.contains(&(from, to))
                    && !state.cut.contains(&(to, from))
            };
            if reached {
                break;
            }
            sleep(SYN_AGAIN).await;
        }
        let queue = self.state.borrow().listeners.get(&(to, port)).cloned();
        let queue = queue.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (near, far) = SimStream::pair(self, from, to);
        let peer = {
            let mut state = self.state.borrow_mut();
            state.ports = state.ports.wrapping_add(1);
            state.connections.push(Rc::downgrade(near.connection()));
            address(from, state.ports)
        };
        let waker = {
            let mut queue = queue.borrow_mut();
            queue.calls.push_back((far, peer));
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        sleep(self.latency(to, from)).await;
        Ok(near)
    }

    /// The network as one host has it.
    pub fn seen_from(self: &Rc<Self>, host: Host) -> Rc<dyn Network> {
        Rc::new(View { net: Rc::clone(self), host })
    }
}

struct View {
    net: Rc<Net>,
    host: Host,
}

impl Network for View {
    fn connect(&self, address: String) -> Connecting {
        let (net, host) = (Rc::clone(&self.net), self.host);
        Box::pin(async move {
            let stream = net.call(host, &address).await?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }
}

struct Bound {
    net: Rc<Net>,
    at: (Host, u16),
    queue: Rc<RefCell<Queue>>,
}

impl Listener for Bound {
    fn accept(&self) -> Call {
        let queue = Rc::clone(&self.queue);
        Box::pin(std::future::poll_fn(move |context| {
            let mut queue = queue.borrow_mut();
            match queue.calls.pop_front() {
                Some((stream, peer)) => Poll::Ready(Ok((Box::new(stream) as BoxedStream, peer))),
                None => {
                    queue.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        }))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let mut state = self.net.state.borrow_mut();
        let own = state.listeners.get(&self.at).is_some_and(|it| Rc::ptr_eq(it, &self.queue));
        if own {
            state.listeners.remove(&self.at);
        }
        drop(state);
        // Calls nobody took end here, when the network is not borrowed.
        let calls = std::mem::take(&mut self.queue.borrow_mut().calls);
        drop(calls);
    }
}
